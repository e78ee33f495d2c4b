"""Prequential evaluation: walk the time line, predict each period with what was known before it, move on.

Dawid ("Statistical theory: the prequential approach", JRSS A 1984) judges a forecaster by its forecasts in sequence;
Gama, Sebastião and Rodrigues ("On evaluating stream learning algorithms", Machine Learning 2013) do so for streams.

::

    walk/
      prequential.toml      what was asked for
      settings.toml         of every training
      data/0003/            the events before period 3, while its models are trained
      models/full-0003/     a run trained on them, and cost.json
      answers/0005/         what each model answered in period 5, one Parquet file a model
      requests.parquet      one row a request: period, time, user, returning, popularity, and each policy's metrics
      result.json           what `--json` prints
      report.html           the page for people

A model is trained on a folder that holds nothing later than the beginning of its period, so it can't know more. The
histories that it answers are the users' up to each request, as a server sees them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import polars as pl

from onward.bundle import Bundle, load_bundle
from onward.config import FineTuneConfig
from onward.data.as_of import write_as_of
from onward.data.dataset import Dataset, open_dataset
from onward.data.split import Part, split, split_periods
from onward.errors import ConfigError, unknown
from onward.evaluate.answers import answer
from onward.evaluate.setting import open_trained_dataset
from onward.files import atomic_file
from onward.prequential.finish import Walked, finish
from onward.prequential.periods import cut_periods
from onward.prequential.policies import DEFAULT, ModelKey, delayed, delays, parse_policies
from onward.prequential.requests import about_requests, popularity_before
from onward.prequential.results import Cost, Prequential
from onward.prequential.settings import WalkConfig, read_settings, write_settings
from onward.prequential.tracked import track_walk
from onward.prequential.training import is_made, make_model, read_cost, write_training_settings
from onward.tracking.names import check_trackers

OnStep = Callable[[str, int, int], None]
"""Called with what is done next, and how many of how many trainings and answers are done."""


def prequential(
    run: str | Path,
    out: str | Path = "walk",
    *,
    dataset: str | Path | None = None,
    part: Literal["valid", "test"] = "test",
    every: str | None = None,
    policies: Sequence[str] | None = None,
    fine_tune: FineTuneConfig | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    track: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> Prequential:
    """Compare refit policies along the time line of a part of a run's split.

    Args:
        run: a run or bundle whose split is by time. Its settings and its best number of epochs are those of every
            training; both were chosen before the part begins.
        out: the walk's folder.
        dataset: the data set of the training; by default where it was then. Checked by its hash.
        part: the test part, or the validation part to choose how to refit.
        every: length of a period (`cut_periods`).
        policies: as `parse_policies` reads them; by default `never`, `full` and, of models that are trained step by
            step, `fine-tune`.
        fine_tune: how that goes on.
        seed: of the users resampled for the intervals.
        resume: go on with the walk in the folder, at the training or the answers that are missing.
        overwrite: replace a walk that is there.
        track: trackers that are told of the walk once it is done.

    Raises:
        ConfigError: another split than by time, an option that can't be used, a walk begun with other options.
        FormatError: another data set, an unsound folder.
        OutputError: the folder exists or can't be written.
    """
    check_trackers(track)
    folder = Path(out)
    bundle = load_bundle(run)
    opened = open_trained_dataset(bundle, dataset)
    config = _resolve(bundle, opened, part, every, policies, fine_tune or FineTuneConfig(), seed)
    if resume and folder.is_dir():
        read_settings(folder, config)
    else:
        write_settings(folder, config, overwrite)
    result = _Walk(folder, bundle, opened, config, on_step or (lambda what, done, total: None)).run()
    track_walk(result, folder, track)
    return result


def _resolve(
    bundle: Bundle,
    dataset: Dataset,
    part: Literal["valid", "test"],
    every: str | None,
    names: Sequence[str] | None,
    fine_tune: FineTuneConfig,
    seed: int,
) -> WalkConfig:
    manifest = bundle.manifest
    if part not in ("valid", "test"):
        raise ConfigError(unknown("part", str(part), ("valid", "test")))
    if manifest.split.protocol != "time" or manifest.split.refit:
        how = "with refit" if manifest.split.refit else f"for protocol '{manifest.split.protocol}'"
        raise ConfigError(
            f"{bundle.path} was trained {how}, and a walk along the time line needs a validation part and a test part "
            "that are divided by time",
            "train it with: onward train --protocol time",
        )
    trainable = bundle.model.traits.trainable
    names = names or [name for name in DEFAULT if trainable or name != "fine-tune"]
    if any(policy.kind == "fine-tune" for policy in parse_policies(names)) and not trainable:
        raise ConfigError(
            f"model '{manifest.model}' is fitted in one call, so there is nothing to fine-tune",
            "leave the policy fine-tune out",
        )
    asked: Part = getattr(split(dataset.histories, manifest.split, dataset.manifest.actions), part)
    assert dataset.histories.time is not None, "protocol 'time' has times"
    return WalkConfig(
        weights=manifest.files["weights.safetensors"],
        dataset=manifest.dataset,
        part=part,
        split=manifest.split,
        every=every,
        bounds=cut_periods(dataset.histories.time[asked.target_start], every),
        policies=tuple(names),
        fine_tune=fine_tune,
        seed=seed,
    )


class _Walk:
    """One walk; `run` reads from top to bottom."""

    def __init__(self, folder: Path, bundle: Bundle, dataset: Dataset, config: WalkConfig, on_step: OnStep) -> None:
        self.folder, self.bundle, self.dataset, self.config, self.on_step = folder, bundle, dataset, config, on_step
        self.policies = parse_policies(config.policies)
        self.starts = config.bounds[:-1]
        self.models = [self._models_of(period) for period in range(len(self.starts))]
        self.answering = [self._answering(period) for period in range(len(self.starts))]
        self.total = sum(map(len, self.models)) + sum(map(len, self.answering))
        self.done = 0

    def run(self) -> Prequential:
        """Train and answer what is missing, period by period; then measure."""
        settings = write_training_settings(self.folder, self.bundle)
        data, bounds = self.dataset.histories, self.config.bounds
        spans = list(pairwise(bounds))
        parts = split_periods(data, spans, self.config.split, self.dataset.manifest.actions)
        popularity = popularity_before(data, bounds[0])
        requests, costs = [], dict[ModelKey, Cost]()
        for period, part in enumerate(parts):
            costs |= self._train(period, settings)
            for key in self.answering[period]:
                self._step(period, f"answers of {key.name}")
                self._answer(key, period, part)
            requests.append(about_requests(data, part, period, bounds[period], popularity))
        answers = [
            {key: pl.read_parquet(self._file(key, period)) for key in keys}
            for period, keys in enumerate(self.answering)
        ]
        return finish(self.folder, Walked(self.bundle, self.dataset, self.config, pl.concat(requests), answers, costs))

    def _models_of(self, period: int) -> list[ModelKey]:
        """The models that are made before a period."""
        chosen = (policy.model(period) for policy in self.policies)
        return list(dict.fromkeys(key for key in chosen if key.period == period))

    def _answering(self, period: int) -> list[ModelKey]:
        """The models that answer in a period: for the policies, and older ones for the cost of delay."""
        keys = [policy.model(period) for policy in self.policies]
        keys += [delayed(period, age) for age in delays(self.policies, len(self.starts)) if age <= period]
        return list(dict.fromkeys(keys))

    def _train(self, period: int, settings: Path) -> dict[ModelKey, Cost]:
        """The models that are made before a period, each with what that took."""
        models, known, costs = self.folder / "models", self.folder / "data" / f"{period:04}", {}
        for key in self.models[period]:
            self._step(period, f"training {key.name}")
            if not is_made(key, models):
                if not known.is_dir():
                    write_as_of(self.dataset, self.starts[period], known)
                since = self.starts[key.parent.period] if key.parent is not None else 0
                make_model(key, open_dataset(known), models, settings, self.config.fine_tune, since)
            costs[key] = read_cost(key, models)
        shutil.rmtree(known, ignore_errors=True)
        return costs

    def _answer(self, key: ModelKey, period: int, part: Part) -> None:
        """Write what a model answers in a period, unless it is there."""
        file = self._file(key, period)
        if not file.is_file():
            bundle = load_bundle(self.folder / "models" / key.name)
            found = answer(bundle, self.dataset, part, self.bundle.manifest.seen)
            with atomic_file(file, overwrite=True) as new:
                found.write_parquet(new)

    def _file(self, key: ModelKey, period: int) -> Path:
        return self.folder / "answers" / f"{period:04}" / f"{key.name}.parquet"

    def _step(self, period: int, what: str) -> None:
        self.on_step(f"period {period + 1} of {len(self.starts)}: {what}", self.done, self.total)
        self.done += 1
