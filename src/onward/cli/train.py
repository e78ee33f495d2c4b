"""`onward train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.config import Protocol, SplitConfig
from onward.payload import Payload


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


def train(
    dataset: Path,
    *,
    model: Annotated[
        str, Parameter(name=["--model", "-m"], help="Name of the model; `onward models` lists them. [default: esasrec]")
    ] = "",
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Run folder to write.")] = Path("run"),
    protocol: Annotated[
        Protocol | None, Parameter(help="How events are divided: last, time, users, or all (no test). [default: time]")
    ] = None,
    refit: Annotated[bool | None, Parameter(help="Train on training + validation.", negative="")] = None,
    seed: Annotated[int | None, Parameter(help="Of weights, batches and dropout. [default: 0]")] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of settings.")] = None,
    like: Annotated[
        Path | None,
        Parameter(help="An evaluated run to train again for its best number of epochs, as a rule with --protocol all."),
    ] = None,
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

    Parameters
    ----------
    dataset
        A folder made by `onward prepare`.
    """
    from onward.train.loop import Stopped
    from onward.train.run import train as run_training

    if resume and not (out / "config.toml").is_file():
        console(error=True).print(f"note: {out} holds no run to resume, so the training starts from the beginning")
    try:
        done = run_training(
            dataset,
            model,
            out,
            protocol=protocol,
            refit=refit,
            seed=seed,
            config=config,
            like=like,
            settings=[*_features(features, without), *(settings or ())],
            resume=resume,
            overwrite=overwrite,
        )
    except Stopped:
        raise KeyboardInterrupt(
            f"the checkpoint is kept; go on with: onward train {dataset} -o {out} --resume"
        ) from None

    def render() -> None:
        text = console()
        kept = "" if done.best_epoch is None else f", weights of epoch {done.best_epoch:g} kept"
        text.print(
            f"trained [bold]{done.config.model['name']}[/] in {done.seconds:.1f} s{kept}; "
            f"{done.parameters:,} parameters"
        )
        for said in done.features:
            text.print(f"feature: {said}", highlight=False, markup=False)
        shown = [name for name in ("ndcg@10", "hr@10", "mse", "f1") if name in done.validation]
        if shown:
            split = done.config.split
            measured = "  ".join(f"{name} {done.validation[name]:.4f}" for name in shown)
            text.print(f"validation (protocol '{split.protocol}', request time '{split.request_time}'): {measured}")
        nothing_left = done.config.split.protocol == "all"
        then = f"export {done.folder} -o model" if nothing_left else f"evaluate {done.folder}"
        text.print(f"run folder: {done.folder}    next: onward {then}", highlight=False)

    payload = TrainedRun(
        run=str(done.folder),
        model=done.config.model,
        protocol=done.config.split,
        seconds=done.seconds,
        parameters=done.parameters,
        best_epoch=done.best_epoch,
        validation=done.validation,
        features=done.features,
    )
    emit(payload, as_json, render)


def _features(features: str | None, without: str | None) -> list[str]:
    """The settings that the two options stand for."""
    settings = []
    if features is not None:
        settings.append(f"model.features={features if features in ('all', 'none') else _words(features)}")
    return settings if without is None else [*settings, f"model.without={_words(without)}"]


def _words(text: str) -> str:
    return json.dumps([word.strip() for word in text.split(",") if word.strip()], ensure_ascii=False)
