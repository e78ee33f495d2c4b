"""Trackers by name: three that come with Onward, and those that installed packages offer.

A package offers one by an entry point in the group `onward.trackers`. Settings name trackers, and settings come from
files; a file must not be able to run code that nobody installed for it, so an import path is no name.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from onward.errors import ConfigError, MissingExtraError, unknown
from onward.tracking.protocol import Tracker

GROUP = "onward.trackers"
BUILT_IN = {
    "tensorboard": ("onward.tracking.tensorboard:TensorBoard", "tensorboardX"),
    "mlflow": ("onward.tracking.mlflow:MLflow", "mlflow"),
    "wandb": ("onward.tracking.wandb:WandB", "wandb"),
}
"""Name, which is also that of the extra -> the class, and the module that it needs."""


def check_trackers(names: Iterable[str]) -> None:
    """Raise before anything is done with trackers that can't be had.

    Raises:
        ConfigError: no tracker of that name, or one twice.
        MissingExtraError: its package isn't installed; names the extra.
    """
    given = list(names)
    for name in given:
        if name not in BUILT_IN and name not in _offered():
            hint = f"a tracker of your own is an entry point in the group '{GROUP}'"
            raise ConfigError(unknown("tracker", name, {*BUILT_IN, *_offered()}), hint)
        if given.count(name) > 1:
            raise ConfigError(f"tracker '{name}' is named twice")
        if name in BUILT_IN and importlib.util.find_spec(BUILT_IN[name][1]) is None:
            raise MissingExtraError(BUILT_IN[name][1], name)


def make_tracker(name: str) -> Tracker:
    """A new tracker. Raises as `check_trackers`, and whatever importing and making it raises."""
    check_trackers([name])
    point = EntryPoint(name, BUILT_IN[name][0], GROUP) if name in BUILT_IN else _offered()[name]
    made: Callable[[], Tracker] = point.load()
    return made()


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
