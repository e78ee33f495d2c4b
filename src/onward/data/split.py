"""Splits: which events train, which are predicted in validation and test, and from what history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onward.config import Protocol, RequestTime, SplitConfig
from onward.data.protocols import all_training, by_last_event, by_last_share, by_periods, by_time, by_users
from onward.data.requests import Part as Part
from onward.data.requests import Split as Split
from onward.data.sequences import Histories
from onward.data.targets import action_code, is_action
from onward.errors import ConfigError


def split(data: Histories, config: SplitConfig, actions: Sequence[str] = ()) -> Split:
    """Divide the histories of all users.

    Args:
        actions: names of the action codes, for `config.target_action`.

    Raises:
        ConfigError: `time` or a request time of `target` without times, cuts that leave a part empty, or an action
            that the data doesn't have or that nothing is left to predict of.
        DataError: no user is long enough to be predicted.
    """
    if config.refit and config.protocol == "all":
        raise ConfigError("refit has no meaning with protocol 'all'", "leave --refit out")
    if config.last_share is not None and config.protocol != "last":
        raise ConfigError(
            f"split.last_share = {config.last_share} belongs to protocol 'last', and this is '{config.protocol}'",
            "use --protocol last, or leave split.last_share out",
        )
    if config.known_events is not None and config.protocol != "users":
        raise ConfigError(
            f"split.known_events = {config.known_events} belongs to protocol 'users', and this is '{config.protocol}'",
            "use --protocol users, or leave split.known_events out",
        )
    code = None
    if config.target_action is not None:
        code = action_code(config.target_action, actions, "split.target_action")
    made = {
        "last": partial(by_last_event, code=code) if config.last_share is None else by_last_share,
        "time": by_time,
        "users": by_users,
        "all": all_training,
    }[config.protocol](data, config)
    if code is not None:
        made = _of_action(data, made, code)
    if config.refit:
        made = _refit(data, made)
    if data.time is None:  # nothing says what of a friend came later than a request, but training events are known
        parts = {name: replace(getattr(made, name), friends_end=made.train_end) for name in ("valid", "test")}
        made = replace(made, **parts)
    return _with_request_time(data, made)


def _of_action(data: Histories, made: Split, code: int) -> Split:
    """Only requests for an event of one action."""

    def asked_for(part: Part, name: str) -> Part:
        asked = _asking(data, part, code)
        if len(part) and not len(asked):
            raise ConfigError(
                f"no event of the action '{made.config.target_action}' is left to predict in the {name} part",
                "choose another split.target_action, or a larger part",
            )
        return asked

    return replace(made, valid=asked_for(made.valid, "valid"), test=asked_for(made.test, "test"))


def _asking(data: Histories, part: Part, code: int) -> Part:
    """The requests of a part that ask for an event of one action."""
    before = np.concatenate([[0], np.cumsum(is_action(data, code))])
    asked = part.select(before[part.target_end] > before[part.target_start])
    return replace(asked, target_action=code)


def split_periods(
    data: Histories, periods: Sequence[tuple[int, int]], config: SplitConfig, actions: Sequence[str] = ()
) -> list[Part]:
    """Requests for the events of some periods, as protocol `time` has them in its test part.

    Args:
        periods: (first instant, one past the last) of each, microseconds UTC.
        config: resolved, of a split by time: says which action is asked for and what models are told of the time.
    """
    parts = [replace(part, request_time=config.request_time or "none") for part in by_periods(data, periods)]
    if config.target_action is None:
        return parts
    code = action_code(config.target_action, actions, "split.target_action")
    return [_asking(data, part, code) for part in parts]


def usual_request_time(protocol: Protocol, timed: bool) -> RequestTime:
    """What models are told where the settings don't say; `timed` is whether the data has times.

    Under `last` nothing, as the literature measures; else the target's time, since serving passes the present.
    """
    return "target" if timed and protocol != "last" else "none"


def _with_request_time(data: Histories, made: Split) -> Split:
    chosen = made.config.request_time or usual_request_time(made.config.protocol, data.time is not None)
    if chosen == "target" and data.time is None:
        raise ConfigError(
            "split.request_time = 'target' needs event times, and this data set has none", "leave it out, or say 'none'"
        )
    return replace(
        made,
        config=made.config.model_copy(update={"request_time": chosen}),
        valid=replace(made.valid, request_time=chosen),
        test=replace(made.test, request_time=chosen),
    )


def _refit(data: Histories, made: Split) -> Split:
    """Validation joins the training; there is then no validation part."""
    nothing = np.zeros(0, dtype=np.int64)
    train_end = made.train_end.copy()
    np.maximum.at(train_end, made.valid.user, made.valid.target_end)
    return replace(made, train_end=train_end, valid=made.valid.select(nothing))
