"""Weights & Biases. Offline, in `wandb/` of the run folder, unless `WANDB_MODE` says otherwise.

`wandb sync RUN/wandb/offline-run-*` uploads such a run. `WANDB_PROJECT` and the like are read by W&B itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from onward.tracking.protocol import Logged, Session, State

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B reads it where it is imported

import wandb

CODES = {"finished": 0, "stopped": 130, "failed": 1}
"""Exit codes, as W&B is told how a run ended."""


class WandB:
    """Settings and facts become the run's config, files its files.

    W&B keeps the latest numbers in memory, and a kill takes them along. What a resumed training still holds of its
    earlier sessions is therefore logged again: the newest of the run's files is complete.
    """

    def begin(self, session: Session) -> str:
        """As `Tracker.begin`."""
        mode: Any = os.environ.get("WANDB_MODE") or "offline"  # W&B checks the word
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "onward",
            name=session.folder.resolve().name,
            id=session.id,
            resume="allow",
            dir=str(session.folder),
            mode=mode,
            config={**session.settings, "facts": dict(session.facts)},
            # what is known of code and machine is among the facts
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )
        for logged in session.earlier:
            self.log(logged)
        return str(self._run.id)

    def log(self, logged: Logged) -> None:
        """As `Tracker.log`."""
        self._run.log(dict(logged.metrics), step=logged.step)

    def artifact(self, file: Path, place: str) -> None:
        """As `Tracker.artifact`; a copy, since W&B would link to it."""
        target = Path(self._run.dir) / place / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        self._run.save(str(target), base_path=self._run.dir, policy="now")

    def end(self, state: State) -> None:
        """As `Tracker.end`."""
        self._run.finish(exit_code=CODES[state])
