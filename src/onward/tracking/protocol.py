"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["finished", "stopped", "failed"]
"""How a session ended: to its end; by Ctrl-C, or by a search that ended it; by an error."""


@dataclass(frozen=True)
class Logged:
    """Numbers of one step."""

    step: int
    """Updates done."""
    metrics: Mapping[str, float]
    """By name: `train/loss`, `validation/ndcg@10`, `test/ndcg@10`, `test/ndcg@10_low`..."""


@dataclass(frozen=True)
class Session:
    """One session of a run: its training, that training resumed, or an evaluation."""

    folder: Path
    """The run folder."""
    settings: Mapping[str, Any]
    """The resolved settings under dotted keys, the hash of the data set (`dataset`) among them."""
    facts: Mapping[str, Any]
    """Where its training runs, under dotted keys: `git_revision`, `environment.python`... Values may be None."""
    id: str | None = None
    """What `begin` gave in an earlier session of the run; None in the first."""
    earlier: Sequence[Logged] = ()
    """What earlier sessions logged that still holds, for trackers that a kill may have cut off; of a training only."""
    redo_from: int | None = None
    """A training that was killed does the steps from here on again, and logs them again; None: nothing is redone."""


class Tracker(Protocol):
    """Takes a run's numbers and files elsewhere. Made without arguments, one a session, and used by one thread.

    It may raise anything: it is then left out with a warning, and what it was to log with it. `metrics.jsonl`, which
    is no tracker, holds everything.
    """

    def begin(self, session: Session) -> str:
        """Start a run, or go on with that of `session.id`; gives the id under which a later session goes on."""

    def log(self, logged: Logged) -> None:
        """Take numbers of a step."""

    def artifact(self, file: Path, place: str) -> None:
        """Keep a copy of a file, in a folder such as `evaluation/test`; "" is the top one."""

    def end(self, state: State) -> None:
        """Write what is still held. A later session may go on with the run."""
