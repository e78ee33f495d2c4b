"""Compare runs under one protocol: a row each, and paired tests against one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onward.bundle import bundle_folder, load_bundle, read_manifest
from onward.config import RunConfig, read_toml
from onward.data.dataset import open_dataset
from onward.errors import ConfigError, FormatError, unknown
from onward.evaluate.comparison import Comparison as Comparison
from onward.evaluate.comparison import Difference as Difference
from onward.evaluate.comparison import Row as Row
from onward.evaluate.comparison import SeedResult
from onward.evaluate.interest import LOWER_IS_BETTER
from onward.evaluate.options import Options
from onward.evaluate.paired import tests
from onward.evaluate.pooled import pooled
from onward.evaluate.protocol import evaluate
from onward.evaluate.ranking import Progress
from onward.evaluate.results import Evaluation, read_evaluation
from onward.evaluate.setting import check_trained_on, open_trained_dataset
from onward.manifest import BundleManifest
from onward.runs import read_metrics, seed_runs
from onward.training_rows import training_rows

OnModel = Callable[[str], Progress | None]
"""Called with a path before it is evaluated; gives the progress display to use."""


def compare(
    paths: Sequence[str | Path],
    part: Literal["valid", "test"] = "test",
    baseline: str | None = None,
    *,
    dataset: str | Path | None = None,
    options: Options | None = None,
    audit: bool = False,
    on_model: OnModel = lambda path: None,
    metric: str | None = None,
) -> Comparison:
    """Compare runs or bundles that were trained on the same data and split.

    A stored evaluation of the same weights under the same options is used again; else the model is evaluated.

    Args:
        paths: runs, bundles, or folders of runs that differ in their seed alone (`onward train --seeds`), which make
            one row, the mean of them.
        baseline: label or path of the row to test against; the best by default.
        dataset: as in `evaluate`.
        audit: audit the data set too, for the report.
        metric: what orders the rows and picks the best; NDCG by default.

    Raises:
        ConfigError: protocols that differ, naming what differs; no such baseline; a metric that a model lacks; nothing
            to compare; runs of several seeds that differ in more.
        FormatError: an unsound folder, or another data set.
    """
    if not paths:
        raise ConfigError("nothing to compare", "for example: onward compare runs/popularity runs/sasrec")
    options = options or Options()
    runs = [seed_runs(path) or [Path(path)] for path in paths]
    manifests = [[read_manifest(bundle_folder(run)) for run in group] for group in runs]
    if dataset is not None:  # also where every result is stored already
        opened = open_dataset(dataset)
        for path, group in zip(paths, manifests, strict=True):
            for manifest in group:
                check_trained_on(path, manifest, opened)
    labels = _labels(paths, [group[0] for group in manifests])
    results = [
        [_result(run, manifest, part, dataset, options, on_model) for run, manifest in zip(group, mine, strict=True)]
        for group, mine in zip(runs, manifests, strict=True)
    ]
    every = [(label, result) for label, mine in zip(labels, results, strict=True) for result in mine]
    _check_same([label for label, _ in every], [result for _, result in every])
    curves = {label: read_metrics(group[0] / "metrics.jsonl") for label, group in zip(labels, runs, strict=True)}
    metric = _metric(metric, labels, [mine[0] for mine in results], options)
    rows = [
        _row(label, str(path), group, [manifest.training for manifest in of_runs], mine, options.seed)
        for label, path, group, of_runs, mine in zip(labels, paths, runs, manifests, results, strict=True)
    ]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    rows.sort(key=lambda row: sign * row.evaluation.metrics[metric].value)
    reference = rows[0] if baseline is None else _named(rows, baseline)
    made = Comparison(
        part=part,
        protocol=reference.evaluation.protocol,
        metric=metric,
        baseline=reference.label,
        rows=rows,
        tests=tests(rows, reference, options.seed),
        audit=_audit(reference.run, dataset) if audit else None,
    )
    made._curves.update(curves)
    return made


def comparison_of_one(run: str | Path, result: Evaluation, dataset: str | Path | None = None) -> Comparison:
    """An evaluation as a comparison of one row, for its report; with the audit of the data that it was trained on."""
    manifest, ks = read_manifest(bundle_folder(run)), result.protocol["ks"]
    made = Comparison(
        part=result.part,
        protocol=result.protocol,
        metric="ndcg@10" if 10 in ks else f"ndcg@{ks[0]}",
        baseline=manifest.model,
        rows=[_row(manifest.model, str(run), [Path(run)], [manifest.training], [result], seed=0)],
        tests=[],
        audit=None if result.protocol["external"] else _audit(run, dataset),
    )
    made._curves[manifest.model] = read_metrics(Path(run) / "metrics.jsonl")
    return made


def _row(
    label: str,
    path: str,
    runs: Sequence[Path],
    training: Sequence[dict[str, Any]],
    results: Sequence[Evaluation],
    seed: int,
) -> Row:
    """A model's row, the mean over its runs."""
    configs = [RunConfig.parse(read_toml(bundle_folder(run) / "config.toml")) for run in runs]
    speeds = [speed for run in runs if (speed := _speed(read_metrics(run / "metrics.jsonl"))) is not None]
    seeds = [
        SeedResult(
            path=str(run),
            seed=config.seed,
            metrics={name: estimate.value for name, estimate in result.metrics.items()},
        )
        for run, config, result in zip(runs, configs, results, strict=True)
    ]
    means = {
        name: sum(float(facts[name]) for facts in training) / len(training)
        for name in ("seconds", "best_epoch")
        if all(facts.get(name) is not None for facts in training)
    }
    made = Row(
        label=label,
        path=path,
        seeds=seeds if len(seeds) > 1 else [],
        training=training[0] | means,
        training_rows=training_rows(configs[0]),
        events_per_second=float(np.median(speeds)) if speeds else None,
        evaluation=pooled(results, seed),
    )
    made._results.extend(results)
    return made


def _labels(paths: Sequence[str | Path], manifests: Sequence[BundleManifest]) -> list[str]:
    """The shortest names that tell the rows apart: models, else folders, else paths."""
    folders = [Path(path).resolve() for path in paths]
    for names in ([manifest.model for manifest in manifests], [folder.name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    if len(set(folders)) < len(folders):
        raise ConfigError("the same run is given twice", "each run is compared once")
    return [str(path) for path in paths]


def _result(
    path: Path,
    manifest: BundleManifest,
    part: Literal["valid", "test"],
    dataset: str | Path | None,
    options: Options,
    on_model: OnModel,
) -> Evaluation:
    stored = _stored(path / "evaluation" / part)
    if stored is not None and stored.weights == manifest.files["weights.safetensors"]:
        expected = options.stated(manifest.seen)
        if all(stored.protocol.get(name) == value for name, value in expected.items()):
            return stored
    return evaluate(path, dataset, part, **vars(options), progress=on_model(str(path)))


def _stored(folder: Path) -> Evaluation | None:
    try:
        return read_evaluation(folder)
    except FormatError:
        return None  # absent, or of a version that can't be read: it is made anew


def _check_same(labels: Sequence[str], results: Sequence[Evaluation]) -> None:
    first = results[0].protocol
    for label, result in zip(labels[1:], results[1:], strict=True):
        names = [name for name in {**first, **result.protocol} if first.get(name) != result.protocol.get(name)]
        if names:
            parts = [f"{name} ({_short(first.get(name))} and {_short(result.protocol.get(name))})" for name in names]
            raise ConfigError(
                f"'{labels[0]}' and '{label}' were measured under protocols that differ in {', '.join(parts)}",
                "train them with the same split on the same data set, or compare them in separate tables",
            )
        if not results[0].table.select("user", "targets").equals(result.table.select("user", "targets")):
            raise FormatError(f"'{labels[0]}' and '{label}' answered different requests", "evaluate both again")


def _metric(asked: str | None, labels: Sequence[str], results: Sequence[Evaluation], options: Options) -> str:
    """The metric that orders the rows: the one asked for, which all must have, or NDCG."""
    if asked is None:
        return "ndcg@10" if 10 in options.ks else f"ndcg@{options.ks[0]}"
    for label, result in zip(labels, results, strict=True):
        if asked not in result.metrics:
            raise ConfigError(f"{unknown('metric', asked, result.metrics)} (of '{label}')")
    return asked


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "..."


def _named(rows: Sequence[Row], baseline: str) -> Row:
    for row in rows:
        if baseline in (row.label, row.path, row.evaluation.model):
            return row
    raise ConfigError(unknown("baseline", baseline, [row.label for row in rows]))


def _audit(path: str | Path, dataset: str | Path | None) -> dict[str, Any]:
    from onward.data.audit import audit

    bundle = load_bundle(path)
    found: Mapping[str, Any] = audit(open_trained_dataset(bundle, dataset), bundle.manifest.split).as_dict()
    return dict(found)


def _speed(lines: Sequence[Mapping[str, Any]]) -> float | None:
    speeds = [
        line["events_per_second"] for line in lines if line.get("kind") == "train" and "events_per_second" in line
    ]
    return float(np.median(speeds)) if speeds else None
