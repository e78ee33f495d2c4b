"""What a model is measured on: the data of its training, divided as then, or other data that it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from onward.bundle import Bundle
from onward.config import Protocol, RequestTime, SplitConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Histories
from onward.data.split import Split, split
from onward.errors import ConfigError, FormatError, unknown
from onward.evaluate.external import align
from onward.manifest import BundleManifest
from onward.models.features.attach import histories_for


@dataclass(frozen=True)
class Setting:
    """What a model is measured on: the data set, its histories in the model's item indices, how they are divided."""

    dataset: Dataset
    histories: Histories
    ids: list[str]
    """Item id by index, less one."""
    split: Split
    external: bool


def of_trained(bundle: Bundle, dataset: str | Path | None, protocol: Protocol | SplitConfig | None) -> Setting:
    """The data that a model was trained on, divided as then.

    Raises:
        ConfigError: another split than the training's, or one that left nothing to predict.
        FormatError: another data set.
    """
    config = bundle.manifest.split
    if config.protocol == "all":
        raise ConfigError(
            f"{bundle.path} was trained on all events (protocol 'all'), so nothing is left to measure it on. "
            + _carried(bundle),
            "measure it on data that it never saw: --external --dataset OTHER --protocol last|time|users",
        )
    other = protocol if isinstance(protocol, SplitConfig) else None
    name = other.protocol if other is not None else protocol
    if (name is not None and name != config.protocol) or (other is not None and other != config):
        raise ConfigError(
            f"{bundle.path} was trained for protocol '{config.protocol}', and another split ('{name}') would measure "
            "it on its own training events",
            f"leave --protocol out, or train again: onward train --protocol {name}",
        )
    opened = open_trained_dataset(bundle, dataset)
    histories = histories_for(bundle.model, opened)
    divided = split(histories, config, opened.manifest.actions)
    return Setting(opened, histories, bundle.catalog.ids, divided, external=False)


def open_trained_dataset(bundle: Bundle, dataset: str | Path | None) -> Dataset:
    """The data set that a model was trained on, here or where it was then. Raises FormatError for another one."""
    place = Path(dataset) if dataset is not None else Path(bundle.config.dataset_path)
    if dataset is None and not (place / "dataset.toml").is_file():
        raise FormatError(f"the data set of {bundle.path} is no longer at {place}", "say where it is: --dataset FOLDER")
    opened = open_dataset(place)
    check_trained_on(bundle.path, bundle.manifest, opened)
    return opened


def check_trained_on(path: str | Path, manifest: BundleManifest, dataset: Dataset) -> None:
    """Raise FormatError unless a model was trained on this data set."""
    if dataset.manifest.hash != manifest.dataset:
        raise FormatError(
            f"{path} was trained on data set {manifest.dataset[:12]}, and {dataset.path} is "
            f"{dataset.manifest.hash[:12]}",
            "give the data set of the training, or, if the model never saw any of this one: --external",
        )


def of_external(bundle: Bundle, dataset: str | Path | None, protocol: Protocol | SplitConfig | None) -> Setting:
    """Data that a model never saw, in its item indices; `protocol` divides it, by default that of the training.

    Raises:
        ConfigError: no data set, that of the training, or no protocol to divide it.
    """
    if dataset is None:
        raise ConfigError("external data was not named", "say where it is: --dataset FOLDER")
    opened = open_dataset(dataset)
    if opened.manifest.hash == bundle.manifest.dataset:
        raise ConfigError(
            f"{dataset} is the very data set that {bundle.path} was trained on, so it is not external",
            "leave --external out",
        )
    if protocol is None and bundle.manifest.split.protocol == "all":
        raise ConfigError("which events of the external data are to be predicted?", "--protocol last|time|users")
    # a model goes on being told what it was trained with, as far as the data can tell it
    told = bundle.manifest.split.request_time if opened.histories.time is not None else None
    name = bundle.manifest.split.protocol if protocol is None else protocol
    config = name if isinstance(name, SplitConfig) else _fresh(name, told)
    aligned, ids = align(opened, bundle.catalog)
    histories = histories_for(bundle.model, opened, aligned)
    return Setting(opened, histories, ids, split(histories, config, opened.manifest.actions), external=True)


def _fresh(protocol: str, request_time: RequestTime | None) -> SplitConfig:
    if protocol not in get_args(Protocol):
        raise ConfigError(unknown("protocol", protocol, get_args(Protocol)))
    if protocol == "all":
        raise ConfigError("protocol 'all' leaves nothing to predict", "--protocol last|time|users")
    return SplitConfig.parse({"protocol": protocol, "request_time": request_time})


def _carried(bundle: Bundle) -> str:
    if not bundle.manifest.metrics:
        return "It carries no metrics either."
    texts = []
    for entry in bundle.manifest.metrics:
        shown = {name: value for name, value in entry.values.items() if name in ("ndcg@10", "hr@10", "mse")}
        numbers = ", ".join(f"{name} {_number(value):.4f}" for name, value in shown.items())
        texts.append(f"{numbers or 'metrics'} ({entry.part}, protocol '{entry.protocol.get('split', '?')}')")
    return f"It carries the metrics of the run that chose its settings: {'; '.join(texts)}."


def _number(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)
