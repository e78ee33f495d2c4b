"""One run: from a dataset and a configuration to a folder with a trained model in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from onward.bundle import add_metrics, bundle_folder, measurements, read_manifest, write_bundle
from onward.config import RunConfig, apply_settings, dump_toml
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Histories
from onward.data.split import Split
from onward.device import reproducible
from onward.evaluate.validate import validation_metrics
from onward.files import atomic_file, atomic_folder, check_target
from onward.models.features.attach import links_by_id
from onward.models.sequence import SequenceModel
from onward.tracking.names import check_trackers
from onward.tracking.trackers import Trackers
from onward.train.checkpoint import adagrad_sums
from onward.train.display import Display
from onward.train.log import RunLog
from onward.train.loop import BEST, train_model
from onward.train.make import make_model, place
from onward.train.records import read_record
from onward.train.resolve import resolve, resumed, starting_settings
from onward.train.session import peak_memory
from onward.train.unseen import fit_unseen
from onward.train.watch import Ended, Watch


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    folder: Path
    config: RunConfig
    seconds: float
    """Training time, over all sessions."""
    parameters: int
    """Numbers that the model learned."""
    best_epoch: float | None
    """Epoch whose weights were kept; None for a model fitted in one call."""
    validation: dict[str, float]
    """Metrics on the validation part; empty when there is none."""
    features: list[str]
    """What was decided about each column that is read beside item ids, in sentences."""


def train(
    dataset: Dataset | str | Path,
    model: str = "",
    out: str | Path = "run",
    *,
    protocol: str | None = None,
    refit: bool | None = None,
    seed: int | None = None,
    config: str | Path | None = None,
    like: str | Path | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    watch: Watch | None = None,
) -> Trained:
    """Train one model and write its run folder; a static model is fitted in one call.

    Args:
        dataset: a prepared dataset or its folder.
        model: name in the registry; may come from `config` instead; eSASRec where neither names one.
        protocol, refit, seed: as in `SplitConfig` and `RunConfig`; None leaves what `config` says.
        config: TOML file of settings; `settings` (`train.epochs=20`) go over it, and the arguments over both.
        like: an evaluated run to train again, as a rule with protocol `all`: its settings, its best number of epochs,
            where `protocol` is None its division of the events, and its measurements, which the new bundle carries as
            that run's where it is of the same dataset.
        resume: go on with the training in `out`, whose own configuration counts; one that is finished stays as it is.
        overwrite: replace a run that is there.
        watch: sees how a training by the loop goes, and may end it.

    Raises:
        ConfigError, FormatError, OutputError: what was given can't be used.
        TrainingError: the loss became NaN or diverged.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    folder = Path(out)
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    resume = resume and (folder / "config.toml").is_file()
    given = any(value is not None for value in (protocol, refit, seed, config, like)) or bool(model or settings)
    if not resume:
        check_target(folder, overwrite)
    if given or not resume:
        values = apply_settings(starting_settings(data, config, like, model, protocol), settings)
        resolved = resolve(data, values, model, protocol, refit, seed)
    if resume:
        resolved = resumed(folder, data, resolved if given else None)
        if (finished := _finished(folder, resolved)) is not None:
            return finished
    check_trackers(resolved.track)
    with Trackers(resolved.track, folder) as trackers:
        try:
            done = _run(folder, data, resolved, resume, overwrite, progress, watch, trackers)
        except Ended:
            trackers.end("stopped")
            raise
    if like is not None and read_manifest(bundle_folder(like)).dataset == data.manifest.hash:
        add_metrics(folder, measurements(like))
    return done


def _finished(folder: Path, config: RunConfig) -> Trained | None:
    """What a run folder holds, where its training came to its end."""
    record = read_record(folder)
    if record.state != "finished":
        return None
    facts = read_manifest(folder / "model").training
    return Trained(
        folder,
        config,
        facts["seconds"],
        facts["parameters"],
        facts["best_epoch"],
        record.validation,
        facts.get("features", []),
    )


def _run(
    folder: Path,
    data: Dataset,
    config: RunConfig,
    resume: bool,
    overwrite: bool,
    shown: bool,
    watch: Watch | None,
    trackers: Trackers,
) -> Trained:
    made = make_model(data, config)
    model, histories, training, divided, said = made.model, made.histories, made.training, made.divided, made.said
    facts: dict[str, Any] = {"best_epoch": None}
    sums: dict[str, Tensor] = {}
    if not isinstance(model, SequenceModel):
        started = time.perf_counter()
        model.fit(training, config.seed)
        facts["seconds"] = time.perf_counter() - started
        said = model.notes
    if not resume:
        begin_run(folder, config, overwrite)
    if isinstance(model, SequenceModel):
        seen = data.manifest.seen
        facts, metrics, sums = run_loop(
            folder, histories, training, seen, divided, model, config, resume, shown, watch, trackers=trackers
        )
        decided: dict[str, float] = facts.pop("decided", {})
        if watch is not None and watch.ended:
            decided["stop_after"] = facts["best_epoch"]
        if decided:
            config = _as_trained(folder, config, decided)
        fitted, found = fit_unseen(model, histories, divided, data, config.train, shown)
        facts, said = facts | fitted, [*said, *found]
    else:
        metrics = validation_metrics(model, histories, divided.valid, data.manifest.seen)
    facts |= {"parameters": model.parameters_count, **peak_memory()}
    close_metrics(folder, facts, metrics, isinstance(model, SequenceModel), trackers)
    trackers.artifact(folder / "config.toml")
    facts |= {"features": said} if said else {}
    write_bundle(
        folder / "model",
        model,
        data.catalog,
        config,
        data.manifest,
        facts,
        overwrite=True,
        links=links_by_id(data, model),
        sums=sums,
    )
    return Trained(folder, config, facts["seconds"], facts["parameters"], facts["best_epoch"], metrics, said)


def begin_run(folder: Path, config: RunConfig, overwrite: bool) -> None:
    """The folder of a run that is about to train. Raises OutputError where it exists or can't be written."""
    with atomic_folder(folder, overwrite) as new:
        (new / "config.toml").write_text(dump_toml(config), encoding="utf-8")
        (new / "checkpoints").mkdir()


def run_loop(
    folder: Path,
    histories: Histories,
    training: Histories,
    seen: str,
    divided: Split,
    model: SequenceModel,
    config: RunConfig,
    resume: bool,
    shown: bool,
    watch: Watch | None = None,
    sums: Mapping[str, Tensor] | None = None,
    trackers: Trackers | None = None,
) -> tuple[dict[str, Any], dict[str, float], dict[str, Tensor]]:
    """Train by the loop, on this machine's device.

    Args:
        histories: all events, as the model reads them. training: those that train it.
        sums: what Adagrad goes on from.

    Returns:
        Facts of the training, metrics of the validation that chose the weights, and what Adagrad could go on from.
    """
    device = place(model)
    has_validation = len(divided.valid) > 0
    with Display(f"training {model.name}", shown) as display, reproducible(device):
        progress = train_model(
            model,
            training,
            (lambda: validation_metrics(model, histories, divided.valid, seen)) if has_validation else None,
            config.train,
            config.seed,
            folder,
            display,
            resume,
            divided.config.request_time or "none",
            watch,
            sums,
            trackers,
        )
    facts: dict[str, Any] = {"seconds": progress.seconds, "best_epoch": progress.best_epoch, "steps": progress.step}
    facts |= {"decided": progress.decided} if watch is not None else {}
    return facts, progress.best_metrics, adagrad_sums(folder / BEST, model, config.train)


def _as_trained(folder: Path, config: RunConfig, decided: dict[str, float]) -> RunConfig:
    """The settings that give the same weights again, of a training whose end was decided from outside."""
    changed = config.model_copy(update={"train": config.train.model_copy(update=decided)})
    with atomic_file(folder / "config.toml", overwrite=True) as new:
        new.write_text(dump_toml(changed), encoding="utf-8")
    return changed


def close_metrics(
    folder: Path,
    facts: dict[str, Any],
    metrics: dict[str, float],
    by_the_loop: bool,
    trackers: Trackers | None = None,
) -> None:
    """Close the log with what the whole training came to; of a model fitted in one call this is all of the log."""
    step = int(facts.get("steps", 0))
    with RunLog(folder, trackers or Trackers((), folder), step) as log:
        if not by_the_loop:
            log.start()
            if metrics:
                log.log("validation", step, {"epoch": 1.0, "seconds": facts["seconds"], **metrics})
        log.log("end", step, facts)
