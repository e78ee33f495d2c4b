"""`onward train`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from cyclopts import Parameter

from onward.cli.common import Json, Track, console, emit, tracking, words
from onward.config import Protocol, SplitConfig
from onward.payload import Payload

if TYPE_CHECKING:
    from onward.train.run import Trained

SHOWN = ("ndcg@10", "hr@10", "mse", "f1")
"""Metrics of the validation that are printed."""


class _Asked(TypedDict):
    """What one training and several are asked alike."""

    protocol: str | None
    refit: bool | None
    seed: int | None
    config: Path | None
    like: Path | None
    settings: list[str]
    resume: bool
    overwrite: bool


class TrainedRun(Payload):
    """What `onward train --json` prints."""

    format: Literal["onward.train/1"] = "onward.train/1"
    """Format and version."""
    run: str
    """The run folder."""
    model: dict[str, Any]
    """`name` of the model, and all its settings."""
    protocol: SplitConfig
    """How events were divided."""
    seconds: float
    """Training time, over all sessions."""
    parameters: int
    """Numbers that the model learned."""
    best_epoch: float | None
    """Epoch whose weights were kept; null for a model fitted in one call."""
    validation: dict[str, float]
    """Metrics on the validation part; empty when there is none."""
    features: list[str] = []
    """What was decided about each column that is read beside item ids, in sentences."""


class Spread(Payload):
    """A metric over several seeds."""

    mean: float
    """Mean of the runs."""
    deviation: float
    """Standard deviation between the runs, with n - 1."""


class TrainedSeeds(Payload):
    """What `onward train --seeds --json` prints."""

    format: Literal["onward.train.seeds/1"] = "onward.train.seeds/1"
    """Format and version."""
    folder: str
    """The folder that holds a run a seed, and that `onward compare` takes as one model."""
    runs: list[TrainedRun]
    """The runs, by seed."""
    validation: dict[str, Spread]
    """Metrics on the validation part over the runs; empty when there is none."""


def train(
    dataset: Annotated[Path, Parameter(help="A folder made by `onward prepare`.")],
    /,
    *,
    model: Annotated[
        str,
        Parameter(
            name=["--model", "-m"],
            help="Name of the model; `onward models` lists them. [default: esasrec]",
            show_default=False,
        ),
    ] = "",
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Run folder to write.")] = Path("run"),
    protocol: Annotated[
        Protocol | None, Parameter(help="How events are divided: last, time, users, or all (no test). [default: time]")
    ] = None,
    refit: Annotated[bool | None, Parameter(help="Train on training + validation.", negative="")] = None,
    seed: Annotated[int | None, Parameter(help="Of weights, batches and dropout. [default: 0]")] = None,
    seeds: Annotated[
        int | None,
        Parameter(help="Train so many times, with this seed and those that follow it: a run each, in OUT/seed-N."),
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of settings.")] = None,
    like: Annotated[
        Path | None,
        Parameter(
            help="An evaluated run to train again for its best number of epochs, as a rule with --protocol all; "
            "without --protocol its events are divided as they were."
        ),
    ] = None,
    track: Track = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", help="One setting, KEY=VALUE: train.epochs=20, model.width=128...", negative=""),
    ] = None,
    features: Annotated[
        str | None,
        Parameter(
            help="Columns to read beside item ids: all, none, or names, owners (events, items, users) and kinds, "
            "with commas. [default: none]"
        ),
    ] = None,
    without: Annotated[str | None, Parameter(help="Columns to leave out of these, named in the same ways.")] = None,
    resume: Annotated[bool, Parameter(help="Go on with the training in the run folder.", negative="")] = False,
    overwrite: Annotated[bool, Parameter(help="Replace a run that is there.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Train one model on a dataset and keep the weights that validate best.

    Ctrl-C keeps a checkpoint; the same command with --resume goes on to the same result, to the bit.

    Example: onward train dataset/ --model gru -o runs/gru --protocol time --set model.width=128
    """
    from onward.train.loop import Stopped
    from onward.train.run import train as run_training
    from onward.train.several import train_seeds

    if resume and seeds is None and not (out / "config.toml").is_file():
        console(error=True).print(f"note: {out} holds no run to resume, so the training starts from the beginning")
    asked = _Asked(
        protocol=protocol,
        refit=refit,
        seed=seed,
        config=config,
        like=like,
        settings=[*_features(features, without), *tracking(track), *(settings or ())],
        resume=resume,
        overwrite=overwrite,
    )
    try:
        if seeds is not None:
            several = train_seeds(dataset, model, out, seeds=seeds, **asked)
            found = _seeds(out, several)
            emit(found, as_json, lambda: _print_seeds(found, several))
            return
        done = run_training(dataset, model, out, **asked)
    except Stopped:
        again = "" if seeds is None else f" --seeds {seeds}"
        raise KeyboardInterrupt(
            f"the checkpoint is kept; go on with: onward train {dataset} -o {out}{again} --resume"
        ) from None
    emit(_payload(done), as_json, lambda: _print(done))


def _print(done: Trained) -> None:
    text = console()
    kept = "" if done.best_epoch is None else f", weights of epoch {done.best_epoch:g} kept"
    text.print(
        f"trained [bold]{done.config.model['name']}[/] in {done.seconds:.1f} s{kept}; {done.parameters:,} parameters"
    )
    _print_features(done)
    shown = [name for name in SHOWN if name in done.validation]
    if shown:
        split = done.config.split
        measured = "  ".join(f"{name} {done.validation[name]:.4f}" for name in shown)
        text.print(f"validation (protocol '{split.protocol}', request time '{split.request_time}'): {measured}")
    nothing_left = done.config.split.protocol == "all"
    then = f"export {done.folder} -o model" if nothing_left else f"evaluate {done.folder}"
    text.print(f"run folder: {done.folder}    next: onward {then}", highlight=False)


def _print_seeds(found: TrainedSeeds, runs: Sequence[Trained]) -> None:
    text = console()
    seconds = sum(done.seconds for done in runs)
    text.print(
        f"trained [bold]{runs[0].config.model['name']}[/] with {len(runs)} seeds in {seconds:.1f} s; "
        f"{runs[0].parameters:,} parameters"
    )
    _print_features(runs[0])
    split = runs[0].config.split
    for name in (name for name in SHOWN if name in found.validation):
        values = ", ".join(f"{done.validation[name]:.4f}" for done in runs)
        over = found.validation[name]
        text.print(
            f"validation (protocol '{split.protocol}', request time '{split.request_time}'): "
            f"{name} {over.mean:.4f} ± {over.deviation:.4f} ({values})"
        )
    text.print(f"runs: {found.folder}/seed-*    next: onward compare {found.folder} ...", highlight=False)


def _print_features(done: Trained) -> None:
    for said in done.features:
        console().print(f"feature: {said}", highlight=False, markup=False)


def _payload(done: Trained) -> TrainedRun:
    return TrainedRun(
        run=str(done.folder),
        model=done.config.model,
        protocol=done.config.split,
        seconds=done.seconds,
        parameters=done.parameters,
        best_epoch=done.best_epoch,
        validation=done.validation,
        features=done.features,
    )


def _seeds(folder: Path, runs: Sequence[Trained]) -> TrainedSeeds:
    values = {name: [done.validation[name] for done in runs] for name in runs[0].validation}
    return TrainedSeeds(
        folder=str(folder),
        runs=[_payload(done) for done in runs],
        validation={
            name: Spread(mean=statistics.fmean(over), deviation=statistics.stdev(over)) for name, over in values.items()
        },
    )


def _features(features: str | None, without: str | None) -> list[str]:
    """The settings that the two options stand for."""
    settings = []
    if features is not None:
        settings.append(f"model.features={features if features in ('all', 'none') else words(features)}")
    return settings if without is None else [*settings, f"model.without={words(without)}"]
