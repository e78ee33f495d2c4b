"""Training that goes on: a bundle and a log that has grown, to a run with the weights that learned what is new."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from onward.bundle import WEIGHTS, Bundle, read_sums, write_bundle
from onward.config import FineTuneConfig, FineTuned, RunConfig, SplitConfig, read_toml
from onward.data.dataset import Dataset
from onward.data.split import Split, split
from onward.errors import ConfigError
from onward.models.base import Recommender, build, make_items
from onward.models.features.attach import links_by_id
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.runs import differences
from onward.train.fine_tune import Amount, Tuning, tuned
from onward.train.make import training_events
from onward.train.optim import make_optimiser
from onward.train.run import Trained, begin_run, close_metrics, run_loop
from onward.train.unseen import fit_unseen
from onward.train.warm import warm_start


def go_on(
    bundle: Bundle,
    data: Dataset,
    folder: str | Path,
    since: int,
    config: FineTuneConfig | None = None,
    *,
    protocol: SplitConfig | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Trained:
    """Train a bundle's model on with what happened from an instant on, and write a run folder.

    A sequence model starts warm (`warm_start`) and is fine-tuned (`Tuning`, `tuned`). A model that is fitted in
    one call is fitted again, to all training events.

    Args:
        data: of the same log, with all that it was trained on and more.
        since: microseconds UTC, the first instant of what it hasn't learned from.
        protocol: which events train; all by default. Where it keeps a validation part, that picks the epoch.
        seed: of batches, dropout and who is replayed; the bundle's own by default.
        resume: go on with what was broken off in `folder`.
        overwrite: replace a run that is there.

    Raises:
        ConfigError: nothing is new, no item is known, or the folder holds a run of other settings.
        OutputError: the folder exists or can't be written.
        TrainingError, Stopped: as in `train`.
    """
    folder, parent = Path(folder), bundle.manifest.files[WEIGHTS]
    how = FineTuned(**(config or FineTuneConfig()).model_dump(), parent=parent, since=since)
    divided = split(data.histories, protocol or _everything(bundle), data.manifest.actions)
    run = _settings(bundle, data, divided.config, how, seed)
    resume = resume and (folder / "config.toml").is_file()
    if resume:
        _check_same(folder, run)
    else:
        begin_run(folder, run, overwrite)
    if isinstance(bundle.model, SequenceModel):
        model, facts, metrics, sums = _tune(bundle, bundle.model, data, divided, run, folder, how, resume, progress)
    else:
        (model, facts), metrics, sums = _fit(data, divided, run), {}, {}
    close_metrics(folder, facts, metrics, isinstance(model, SequenceModel))
    write_bundle(
        folder / "model",
        model,
        data.catalog,
        run,
        data.manifest,
        facts,
        overwrite=True,
        links=links_by_id(data, model),
        parent=parent,
        sums=sums,
    )
    said = facts.get("features", [])
    return Trained(folder, run, facts["seconds"], facts["parameters"], facts["best_epoch"], metrics, said)


def _everything(bundle: Bundle) -> SplitConfig:
    """All events train, and the model goes on being told what it was told."""
    own = bundle.manifest.split
    return SplitConfig(protocol="all", target_action=own.target_action, request_time=own.request_time)


def _settings(bundle: Bundle, data: Dataset, divided: SplitConfig, how: FineTuned, seed: int | None) -> RunConfig:
    """The settings of the run: the bundle's, on new data."""
    new = {
        "seed": bundle.config.seed if seed is None else seed,
        "dataset": data.manifest.hash,
        "dataset_path": str(data.path),
        "split": divided,
        "track": (),  # only a training from nothing is tracked
        "fine_tune": how if isinstance(bundle.model, SequenceModel) else None,
    }
    return bundle.config.model_copy(update=new)


def _check_same(folder: Path, run: RunConfig) -> None:
    there = RunConfig.parse(read_toml(folder / "config.toml"), str(folder / "config.toml"))
    if differ := differences(there, run):
        raise ConfigError(
            f"{folder} was started with other settings: {'; '.join(differ)}", "remove it, or use another folder"
        )


def _tune(
    bundle: Bundle,
    old: SequenceModel,
    data: Dataset,
    divided: Split,
    run: RunConfig,
    folder: Path,
    how: FineTuned,
    resume: bool,
    shown: bool,
) -> tuple[Recommender, dict[str, Any], dict[str, float], dict[str, Tensor]]:
    """The model, facts of its training, the metrics of its validation and what Adagrad could go on from."""
    known = bundle.manifest.training
    shift, sums = known.get("unseen_shift"), read_sums(bundle)
    if not sums and make_optimiser(old, run.train).has_sums:
        raise ConfigError(
            f"{bundle.path} was trained by Adagrad, and doesn't hold the sums of squares that it goes on from: its "
            "first steps would undo what was learned",
            "it was written by an earlier version of onward; train it again",
        )
    warm = warm_start(old, bundle.catalog, data, divided, run.seed, shift or 0.0, sums)
    model, seen = warm.model, data.manifest.seen
    every = training_events(warm.histories, divided, data, run)
    tuning = Tuning.of(every, how.since, how.context)
    anew = run.train.model_copy(update={"epochs": max(1, round(known.get("best_epoch") or run.train.epochs))})
    training = tuning.rows(Amount.within(how, every, tuning, model, anew), run.seed)
    taken = {"unseen_shift": shift, "unseen_weight": known.get("unseen_weight")}
    settings = tuned(run.train, how).model_copy(update=taken)
    loop = run.model_copy(update={"train": settings})
    facts, metrics, sums = run_loop(
        folder, warm.histories, training, seen, divided, model, loop, resume, shown, sums=warm.sums
    )
    facts |= fit_unseen(model, warm.histories, divided, data, settings, shown)[0] | {
        # of a training from nothing, which is what `--like` repeats
        "best_epoch": known.get("best_epoch"),
        "parameters": model.parameters_count,
        "new_items": warm.new_items,
    }
    said = known.get("features")
    return model, facts | ({} if said is None else {"features": said}), metrics, sums


def _fit(data: Dataset, divided: Split, run: RunConfig) -> tuple[Recommender, dict[str, Any]]:
    """The same for a model that is fitted in one call."""
    training = training_events(data.histories, divided, data, run)
    catalog = data.catalog
    items = make_items(training, catalog.tie_rank, catalog.frame, data.manifest.item_features)
    settings = {key: value for key, value in run.model.items() if key != "name"}
    model = build(model_class(str(run.model["name"])), settings, items)
    started = time.perf_counter()
    model.fit(training, run.seed)
    facts: dict[str, Any] = {"seconds": time.perf_counter() - started, "best_epoch": None}
    facts["parameters"] = model.parameters_count
    return model, facts | ({"features": model.notes} if model.notes else {})
