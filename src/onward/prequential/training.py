"""The models of a walk, each trained on a dataset folder in which nothing came later."""

from __future__ import annotations

import json
import time
from pathlib import Path

from onward.bundle import Bundle, load_bundle
from onward.config import FineTuneConfig, RunConfig, dump_toml
from onward.data.dataset import Dataset
from onward.errors import FormatError
from onward.files import atomic_file
from onward.prequential.policies import ModelKey
from onward.prequential.results import Cost
from onward.train.go_on import go_on
from onward.train.resolve import settings_again
from onward.train.run import train

COST = "cost.json"
"""In a model's folder: what its training took. Written last, so that a folder without it is begun anew."""
SETTINGS = "settings.toml"


def write_training_settings(folder: Path, bundle: Bundle) -> Path:
    """The settings of every training of a walk: those of the run, for the number of epochs that validated best."""
    values = settings_again(bundle.path)
    with atomic_file(folder / SETTINGS, overwrite=True) as new:
        new.write_text(dump_toml(RunConfig.parse(values)), encoding="utf-8")
    return folder / SETTINGS


def is_made(key: ModelKey, models: Path) -> bool:
    """Whether a model is there, trained to its end."""
    return (models / key.name / COST).is_file()


def make_model(
    key: ModelKey, known: Dataset, models: Path, settings: Path, fine_tune: FineTuneConfig, since: int
) -> None:
    """Train one model, and keep what that took.

    A training that was killed begins anew, so that its cost is measured as a whole.

    Args:
        known: the events before the model's period, and nothing else.
        settings: of full trainings.
        since: of a model that goes on: first instant of what the one before hasn't learned from, microseconds UTC.
    """
    folder = models / key.name
    began, processor = time.perf_counter(), time.process_time()
    if key.parent is None:
        train(known, out=folder, protocol="all", config=settings, overwrite=True, progress=False)
    else:
        go_on(load_bundle(models / key.parent.name), known, folder, since, fine_tune, overwrite=True, progress=False)
    took = Cost(
        trainings=1,
        seconds=time.perf_counter() - began,
        processor_seconds=time.process_time() - processor,
    )
    with atomic_file(folder / COST, overwrite=True) as new:
        new.write_text(took.model_dump_json(), encoding="utf-8")


def read_cost(key: ModelKey, models: Path) -> Cost:
    """What a model's training took. Raises FormatError where the file is damaged."""
    file = models / key.name / COST
    try:
        return Cost.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except ValueError:
        raise FormatError(f"{file} is damaged", "remove its folder and go on with --resume") from None
