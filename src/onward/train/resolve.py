"""The settings of one training: those asked for, those of a run to train again, those of a run to go on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onward.bundle import bundle_folder, measurements, read_manifest
from onward.config import RunConfig, apply_settings, read_toml
from onward.data.dataset import Dataset
from onward.data.split import split
from onward.device import compute_device
from onward.errors import ConfigError, FormatError
from onward.models.registry import DEFAULT_MODEL, model_class
from onward.preferences import prefers_bfloat16
from onward.runs import differences


def starting_settings(
    data: Dataset, config: str | Path | None, like: str | Path | None, model: str, protocol: str | None
) -> dict[str, Any]:
    """Settings of a file, or of a run that was evaluated, with the number of epochs that validated best there.

    Where no protocol is asked for, the events are divided as for that run, at the same instants if they are the same.
    """
    if like is None:
        return read_toml(Path(config)) if config is not None else {}
    if config is not None:
        raise ConfigError("--like takes its settings from a run, so there is no place for --config", "leave one out")
    folder = bundle_folder(like)
    manifest = read_manifest(folder)
    if model not in ("", manifest.model):
        raise ConfigError(f"--like {like} trains its own model, '{manifest.model}', not '{model}'", "leave --model out")
    if not measurements(like):
        raise ConfigError(f"{like} has not been evaluated yet", f"evaluate it first: onward evaluate {like}")
    values = settings_again(folder)
    if protocol is None:
        cuts = set() if manifest.dataset == data.manifest.hash else {"valid_from", "test_from"}
        values["split"] = manifest.split.model_dump(exclude=cuts, exclude_none=True)
    return values


def settings_again(folder: Path) -> dict[str, Any]:
    """Settings to train the model of a bundle again on other events, for as many epochs as validated best."""
    manifest = read_manifest(folder)
    values = read_toml(folder / "config.toml")
    for name in ("stop_after", "decay_from"):  # trains to the end of a schedule of its own
        values.get("train", {}).pop(name, None)
    values.pop("fine_tune", None)  # and from nothing
    values.pop("track", None)  # that run was to be tracked, which says nothing of this one
    # how it was measured is not how this one is split, but it learns the same, and is told the same, as it was
    values["split"] = manifest.split.model_dump(include={"request_time", "target_action"}, exclude_none=True)
    best = manifest.training.get("best_epoch")
    chosen = [] if best is None else [f"train.epochs={max(1, round(best))}"]
    # with nothing left to validate on, what was fitted there is taken over
    fitted = {name: manifest.training.get(name) for name in ("unseen_weight", "unseen_shift")}
    chosen += [f"train.{name}={value}" for name, value in fitted.items() if value is not None]
    return apply_settings(values, chosen)


def resolve(
    data: Dataset, values: dict[str, Any], model: str, protocol: str | None, refit: bool | None, seed: int | None
) -> RunConfig:
    """Arguments over settings over defaults, complete: cuts in time and all of the model's settings filled in.

    Args:
        values: settings. model, protocol, refit, seed: as in `train`.
    """
    chosen: dict[str, Any] = {
        "split.protocol": protocol,
        "split.refit": refit,
        "seed": seed,
        "model.name": model or None,
    }
    for key, value in chosen.items():
        if value is not None:
            group, _, name = key.rpartition(".")
            (values.setdefault(group, {}) if group else values)[name] = value
    values["dataset"], values["dataset_path"] = data.manifest.hash, str(data.path)
    run = RunConfig.parse(values)
    cls = model_class(str(run.model.get("name", DEFAULT_MODEL)))
    parsed = cls.Config.parse({key: value for key, value in run.model.items() if key != "name"}, "model")
    own = parsed.resolved(data.manifest.items, prefers_bfloat16(compute_device()))
    divided = split(data.histories, run.split, data.manifest.actions)
    changed = {"model": {"name": cls.name, **own.model_dump(mode="json")}, "split": divided.config}
    if cls.traits.trainable:
        windows = cls.traits.resolve_windows(run.train.windows, cls.name)
        changed["train"] = run.train.model_copy(update={"windows": windows})
    return run.model_copy(update=changed)


def resumed(folder: Path, data: Dataset, asked: RunConfig | None) -> RunConfig:
    """The run's own configuration, after checking that what is asked for now doesn't contradict it."""
    run = RunConfig.parse(read_toml(folder / "config.toml"), str(folder / "config.toml"))
    if run.dataset != data.manifest.hash:
        raise FormatError(
            f"{folder} was trained on another dataset ({run.dataset[:12]}, not {data.manifest.hash[:12]})",
            "resume with the dataset it was started on, or train into another folder",
        )
    if asked is not None and (differ := differences(run, asked)):
        raise ConfigError(
            f"{folder} was started with other settings: {'; '.join(differ)}",
            "resume without settings, or train into another folder",
        )
    return run
