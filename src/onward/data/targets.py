"""Which events are targets: all of them, or those of one action; and what each action's events weigh in the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Histories
from onward.errors import ConfigError, unknown

WEIGHT = "target_weight"
"""Column of training histories whose events don't all train alike: (N,) float32, 0 for an event that is no target."""


def action_code(action: str, actions: Sequence[str], setting: str) -> int:
    """The code of an action. Raises ConfigError that names the setting, the action and the known ones."""
    if not actions:
        raise ConfigError(
            f"{setting} names the action '{action}', and this data set has no actions",
            f"leave {setting} out, or prepare with --action COLUMN",
        )
    if action not in actions:
        raise ConfigError(f"{unknown('action', action, actions)} (at {setting})")
    return list(actions).index(action)


def is_action(data: Histories, code: int) -> NDArray[np.bool_]:
    """(N,) bool: events of an action."""
    found: NDArray[np.bool_] = data.columns["action"] == code
    return found


def with_targets(data: Histories, code: int) -> Histories:
    """The same histories, in which only events of one action are targets."""
    return replace(data, columns={**data.columns, WEIGHT: is_action(data, code).astype(np.float32)})


def with_action_weights(data: Histories, actions: Sequence[str], weights: Mapping[str, float]) -> Histories:
    """The same histories, the loss of each target multiplied by the weight of its action, 1 where none is given.

    Raises ConfigError for an action that the data doesn't have.
    """
    if not weights:
        return data
    factors = np.ones(len(actions), dtype=np.float32)
    for action, weight in weights.items():
        factors[action_code(action, actions, "train.action_weights")] = weight
    column = factors[data.columns["action"]]
    return replace(
        data, columns={**data.columns, WEIGHT: column * data.columns[WEIGHT] if is_limited(data) else column}
    )


def is_limited(data: Histories) -> bool:
    """Whether not all events train alike."""
    return WEIGHT in data.columns


def targets_of(data: Histories) -> NDArray[np.bool_]:
    """(N,) bool: events that are targets."""
    if not is_limited(data):
        return np.ones(len(data.item), dtype=np.bool_)
    return np.asarray(data.columns[WEIGHT]) > 0
