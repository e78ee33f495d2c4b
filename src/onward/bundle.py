"""The bundle: a trained model as a folder that is safe to load, what training hands to serving.

::

    model/
      config.toml           the resolved settings of the run
      weights.safetensors   everything the model learned, as named tensors
      items.parquet         the catalog: row r is item index r + 1; `_train_count`, `_tie_rank` beside its columns
      manifest.json         what it is, how it was trained and measured, and the hash of every file
      README.md             the model card, made from the manifest
      features.json         of a model that reads features: how each column was fitted
      links.parquet         of a model that reads links: user and friend, by their ids, and weight
      optimiser.safetensors of a training by Adagrad: its sums of squares, from which `onward update` goes on
      encoder.onnx          where it was asked for: the encoder's layers for ONNX Runtime, without the item vectors

Nothing in the folder is code, and loading never executes anything from it: the model's class comes from the
installed package, by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from onward.card import model_card
from onward.config import RunConfig, dump_toml, read_toml
from onward.data.catalog import Catalog
from onward.data.dataset import Manifest, check_files, check_format, sha256
from onward.device import compute_device
from onward.errors import ConfigError, FormatError
from onward.files import atomic_folder
from onward.manifest import FORMAT, BundleManifest, DataFacts, Lineage, Measurement
from onward.manifest import bundle_folder as bundle_folder
from onward.models.base import Items, Recommender, build
from onward.models.features.columns import Column, dump_columns, parse_columns
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel

PACKAGES = ("onward", "numpy", "polars", "safetensors", "scipy", "torch")
COUNT_COLUMN, TIE_COLUMN = "_train_count", "_tie_rank"
WEIGHTS, SUMS = "weights.safetensors", "optimiser.safetensors"
FILES = ("README.md", "config.toml", "items.parquet", WEIGHTS)
ENCODER, FEATURES, LINKS = "encoder.onnx", "features.json", "links.parquet"
OPTIONAL = (FEATURES, LINKS, SUMS, ENCODER)
"""Files that a bundle may have or not."""
FEATURES_FORMAT = "onward.features/1"

_DAMAGED = (
    pl.exceptions.PolarsError, pl.exceptions.PanicException, SafetensorError, KeyError, ValueError, RuntimeError
)  # fmt: skip
"""What a file raises that isn't what it should be, though its hash is right. Over a damaged Parquet file Polars panics,
which is no Exception; lists nested too deep are a RuntimeError."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, ready to recommend."""

    path: Path
    manifest: BundleManifest
    config: RunConfig
    model: Recommender
    catalog: Catalog
    links: pl.DataFrame | None = None
    """Of a model that reads links: user, friend (String ids) and weight, sorted by user, strongest first."""


def write_bundle(
    folder: Path,
    model: Recommender,
    catalog: Catalog,
    config: RunConfig,
    dataset: Manifest,
    training: Mapping[str, Any],
    overwrite: bool = False,
    links: pl.DataFrame | None = None,
    parent: str | None = None,
    sums: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a trained model as a bundle; nothing is left behind when it fails.

    Args:
        config: resolved; `config.model` holds the model's name and all its settings.
        dataset: manifest of the dataset that was trained on.
        training: facts to record, JSON values: seconds, parameters, best_epoch...
        links: as in `Bundle`; the bundle then holds rows of users.
        parent: hash of the weights that the training went on from.
        sums: Adagrad's sums of squares, by the parameters' names.

    Raises:
        OutputError: the folder exists (unless `overwrite`) or can't be written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state().items()}
    facts = DataFacts(
        users=dataset.users,
        events=dataset.events,
        training_events=int(model.items.train_counts.sum()),
        time_min=dataset.time_min,
        time_max=dataset.time_max,
        sources=dataset.sources,
        grouped="group" in dataset.columns,
        baskets="group" in dataset.roles,
        duplicates=dataset.duplicates,
    )
    manifest = BundleManifest(
        model=model.name,
        dataset=dataset.hash,
        data=facts,
        parent=parent,
        items=model.items.n,
        holds_user_rows=model.traits.holds_user_rows or links is not None,
        seen=dataset.seen,
        split=config.split,
        training=dict(training),
        packages={name: version(name) for name in PACKAGES},
        files={},
    )
    with atomic_folder(folder, overwrite=overwrite) as new:
        (new / "config.toml").write_text(dump_toml(config), encoding="utf-8")
        safetensors.torch.save_file(state, new / WEIGHTS)
        if sums:
            safetensors.torch.save_file(dict(sums), new / SUMS)
        _items_frame(catalog, model.items).write_parquet(new / "items.parquet")
        if isinstance(model, SequenceModel) and model.features is not None:
            written = {"format": FEATURES_FORMAT, "columns": dump_columns(model.features.columns)}
            (new / FEATURES).write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if links is not None:
            links.write_parquet(new / LINKS)
        _write_manifest(new, manifest, config)
    return folder


def load_bundle(path: str | Path, device: torch.device | None = None, onnx: bool = False) -> Bundle:
    """Load a bundle folder, or the bundle of a run folder, and verify every file's hash.

    Args:
        device: where a sequence model is put; None: where `compute_device` says.
        onnx: answer few histories at once by ONNX Runtime, on the processor, in half of PyTorch's time or less; needs a
            bundle that was exported with its graph, `onward export --onnx`. What is compiled (`onward doctor`) is
            sooner still, for `sasrec` and `esasrec`, and asks for nothing.

    Raises:
        ConfigError: `ONWARD_DEVICE` names no device of this machine; `onnx`, and the bundle has no graph.
        FormatError: no bundle there, a newer format, a missing or changed file, an unknown model; names it.
        MissingExtraError: `onnx` without the extra of that name.
    """
    folder, place = bundle_folder(path), torch.device("cpu") if onnx else device or compute_device()
    manifest = read_manifest(folder)
    if onnx and ENCODER not in manifest.files:
        raise ConfigError(f"{folder} has no {ENCODER}", "export the run with it: onward export RUN -o MODEL --onnx")
    try:
        config = RunConfig.parse(read_toml(folder / "config.toml"), str(folder / "config.toml"))
        settings = {key: value for key, value in config.model.items() if key != "name"}
        frame = pl.read_parquet(folder / "items.parquet")
        _check_ids(frame["item"])
        items = Items(
            np.concatenate([[0], frame[COUNT_COLUMN].to_numpy()]).astype(np.int64),
            np.concatenate([[0], frame[TIE_COLUMN].to_numpy()]).astype(np.int32),
        )
        model = build(model_class(manifest.model), settings, items)
        if FEATURES in manifest.files and isinstance(model, SequenceModel):
            model.use_features(_read_features(folder), None)
        if isinstance(model, SequenceModel):
            model.to(place)
        model.load_state(safetensors.torch.load((folder / WEIGHTS).read_bytes()))
        links = pl.read_parquet(folder / LINKS) if LINKS in manifest.files else None
    except (ConfigError, *_DAMAGED) as error:
        message = error.message if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise FormatError(
            f"{folder} can't be loaded as model '{manifest.model}': {message}",
            f"it was written by onward {manifest.packages.get('onward', 'of an unknown version')}; train it again",
        ) from error
    if onnx:
        from onward.models.onnx import answer_by_graph

        answer_by_graph(model, (folder / ENCODER).read_bytes())
    return Bundle(folder, manifest, config, model, Catalog(frame.drop(COUNT_COLUMN, TIE_COLUMN)), links)


def _check_ids(ids: pl.Series) -> None:
    """Raise ValueError unless every item has a text of its own as its id."""
    if ids.dtype != pl.String or ids.null_count() or ids.n_unique() < len(ids):
        raise ValueError("items.parquet: each item needs an id of its own, a text")


def read_sums(bundle: Bundle) -> dict[str, Tensor]:
    """What Adagrad can go on from, by the parameters' names; empty of a model that it didn't train."""
    if SUMS not in bundle.manifest.files:
        return {}
    return safetensors.torch.load((bundle.path / SUMS).read_bytes())


def _read_features(folder: Path) -> list[Column]:
    values = json.loads((folder / FEATURES).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{FEATURES} holds no JSON object")
    check_format(folder, values.get("format"), FEATURES_FORMAT)
    return parse_columns(values["columns"])


def read_manifest(folder: Path) -> BundleManifest:
    """Read a bundle's manifest and verify every file's hash. Raises FormatError naming what is wrong."""
    file = folder / "manifest.json"
    hint = "train or export it again: onward export RUN -o MODEL"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is not valid JSON: {error}", hint) from None
    if not isinstance(values, dict):
        raise FormatError(f"{file} holds no JSON object", hint)
    check_format(folder, values.get("format"), FORMAT)
    try:
        manifest = BundleManifest.parse(values, "manifest.json")
    except ConfigError as error:
        raise FormatError(f"{file} is damaged: {error.message}", hint) from None
    for name in FILES:
        if name not in manifest.files:
            raise FormatError(f"{file} lists no hash for {name}", hint)
    check_files(folder, {name: manifest.files[name] for name in _files(manifest)}, hint)
    return manifest


def _files(manifest: BundleManifest) -> tuple[str, ...]:
    return (*FILES, *(name for name in OPTIONAL if name in manifest.files))


def add_metrics(path: str | Path, measured: Iterable[Measurement]) -> Path:
    """Put measurements into a bundle's manifest and card; one of the same part and protocol is replaced.

    Returns the bundle's folder. Raises FormatError for an unsound bundle, OutputError when it can't be written.
    """
    folder = bundle_folder(path)
    return _copy_with_metrics(folder, folder, measured, overwrite=True)


def export(
    run: str | Path,
    out: str | Path,
    overwrite: bool = False,
    encoder: bytes | None = None,
    lineage: Lineage | None = None,
) -> Path:
    """Copy a run's model to a folder of its own, with the run's latest evaluations in its manifest.

    Args:
        lineage: where it comes from; without one, what the run's model says itself.
        encoder: the graph of `encoder.onnx`, made by `onward.models.onnx_export`; without one, the run's own,
            if it has one.

    Raises:
        FormatError: no sound model in the run.
        OutputError: `out` exists (unless `overwrite`) or can't be written.
    """
    folder = bundle_folder(run)
    return _copy_with_metrics(folder, Path(out), measurements(run), overwrite, encoder, lineage)


def _copy_with_metrics(
    source: Path,
    target: Path,
    measured: Iterable[Measurement],
    overwrite: bool,
    encoder: bytes | None = None,
    lineage: Lineage | None = None,
) -> Path:
    manifest = read_manifest(source)
    manifest = manifest if lineage is None else manifest.model_copy(update={"lineage": lineage})
    config = RunConfig.parse(read_toml(source / "config.toml"), str(source / "config.toml"))
    metrics = {_label(entry): entry for entry in [*manifest.metrics, *measured]}
    with atomic_folder(target, overwrite=overwrite) as new:
        for name in _files(manifest):
            if name != "README.md":
                with (source / name).open("rb") as old, (new / name).open("wb") as copy:
                    shutil.copyfileobj(old, copy)  # copyfile would blame a full disk on the source
        if encoder is not None:
            (new / ENCODER).write_bytes(encoder)
        _write_manifest(new, manifest.model_copy(update={"metrics": list(metrics.values())}), config)
    return target


def measurements(run: str | Path) -> list[Measurement]:
    """What was measured of a run or bundle: what its manifest carries and what the run's `evaluation/` holds."""
    found = list(read_manifest(bundle_folder(run)).metrics)
    for part in ("valid", "test"):
        file = Path(run) / "evaluation" / part / "metrics.json"
        if file.is_file():
            try:
                found.append(_measurement(part, json.loads(file.read_text(encoding="utf-8"))))
            except (ValueError, KeyError, TypeError):
                raise FormatError(f"{file} is damaged", f"measure again: onward evaluate {run} --part {part}") from None
    return found


def _measurement(part: str, values: Mapping[str, Any]) -> Measurement:
    """What a bundle keeps of an evaluation: all but its table of requests, which names users."""
    kept = ("users", "requests", "lists", "diversity_feature", "counts", "slices")
    return Measurement.model_validate(
        {name: values[name] for name in kept if name in values}
        | {"part": part, "protocol": values["protocol"], "values": values["metrics"]}
        | {"user_values": values.get("user_metrics", {})}
    )


def _label(entry: Measurement) -> str:
    return json.dumps([entry.part, entry.protocol], sort_keys=True)


def _items_frame(catalog: Catalog, items: Items) -> pl.DataFrame:
    return catalog.frame.with_columns(
        pl.Series(COUNT_COLUMN, items.train_counts[1:], dtype=pl.Int64),
        pl.Series(TIE_COLUMN, items.tie_rank[1:], dtype=pl.Int32),
    )


def _write_manifest(folder: Path, manifest: BundleManifest, config: RunConfig) -> None:
    (folder / "README.md").write_text(model_card(manifest, config), encoding="utf-8")
    names = [name for name in (*FILES, *OPTIONAL) if (folder / name).is_file()]
    complete = manifest.model_copy(update={"files": {name: sha256(folder / name) for name in names}})
    (folder / "manifest.json").write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
