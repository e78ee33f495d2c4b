"""What is new to a model, and which of it the gate predicts."""

from __future__ import annotations

import numpy as np

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.data.sequences import Ints
from onward.errors import ConfigError

FEWEST = 20
"""New events with which an update begins; the gate would say nothing of fewer."""


def unseen_since(bundle: Bundle) -> int:
    """The first instant of what a model hasn't learned from, microseconds UTC.

    Under protocol `time` that is the cut; else what came after the newest event of the data that it was trained on.
    Raises ConfigError for a model of data without times.
    """
    split = bundle.manifest.split
    cut = split.test_from if split.refit else split.valid_from
    if split.protocol == "time" and cut is not None:
        return cut
    if bundle.manifest.data.time_max is None:
        raise ConfigError(
            f"{bundle.path} was trained on data without times, so what is new to it can't be told",
            "train it again from all events: onward train",
        )
    return bundle.manifest.data.time_max + 1


def new_times(data: Dataset, since: int) -> Ints:
    """(n,) int64 times of the events from an instant on, ascending, microseconds UTC.

    Raises ConfigError for data without times, or with too few such events.
    """
    histories = data.histories
    if histories.time is None:
        raise ConfigError(f"{data.path} has no event times, so what is new can't be told", "prepare it with --time")
    times = histories.time[histories.positions()[1]]
    found: Ints = np.sort(times[times >= since])
    if len(found) < FEWEST:
        raise ConfigError(
            f"{data.path} has {len(found)} events that the model hasn't learned from, since "
            f"{np.datetime64(since, 'us')}: fewer than {FEWEST}",
            "prepare the log again once there are more",
        )
    return found


def held_out_from(times: Ints, share: float) -> int:
    """The instant from which on about a share of some events lies. Raises ConfigError where all are of one instant."""
    # 1 - 0.3 of 10 events is 7 of them, whatever floats say
    cut = int(times[min(len(times) - 1, int(len(times) * (1 - share) + 1e-9))])
    if cut == times[0]:
        later = times[times > cut]
        if not len(later):
            raise ConfigError(
                f"all {len(times)} new events happened at {np.datetime64(cut, 'us')}, so the newest can't be held out",
                "prepare the log again once there are later ones",
            )
        cut = int(later[0])
    return cut
