"""MLflow, by `mlflow-skinny`: a tracking server, or files in `mlruns/`.

`MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` say where, as for everything of MLflow's; without them it is the
experiment `onward` in `mlruns/` of the current folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onward.tracking.protocol import Logged, Session, State

# MLflow reads these where it is imported or used. It tells nobody that it is used; files are refused without a word of
# consent; and a server that is away is given up on within seconds.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
BATCH = 100
"""Parameters, or tags, that one request may hold."""


class MLflow:
    """Settings become parameters, facts tags, and files artifacts; `@` in names, which MLflow refuses, `_at_`.

    MLflow takes nothing back. Where steps are done again, those that it has of a metric are left as they are: the
    values are the same.
    """

    def begin(self, session: Session) -> str:
        """As `Tracker.begin`. The id names the folder of files too, so that it is found from anywhere."""
        self._run, _, folder = (session.id or "").partition("@")
        uri = folder or os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
        self._client = MlflowClient(uri)
        self._there = dict[str, set[int]]()
        self._redone_from = session.redo_from if self._run else None
        if self._run:
            self._client.update_run(self._run, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "onward"
            made = self._client.create_run(_experiment(self._client, name), run_name=session.folder.resolve().name)
            self._run = made.info.run_id
            params = [Param(_name(key), str(value)) for key, value in session.settings.items()]
            for first in range(0, len(params), BATCH):
                self._client.log_batch(self._run, params=params[first : first + BATCH])
        tags = _tags(session)
        for first in range(0, len(tags), BATCH):
            self._client.log_batch(self._run, tags=tags[first : first + BATCH])
        return f"{self._run}@{uri}" if uri.startswith("file:") else self._run  # a server's may hold a password

    def log(self, logged: Logged) -> None:
        """As `Tracker.log`."""
        now = int(time.time() * 1000)
        new = {_name(name): value for name, value in logged.metrics.items() if not self._has(_name(name), logged.step)}
        metrics = [Metric(name, float(value), now, logged.step) for name, value in new.items()]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)

    def _has(self, name: str, step: int) -> bool:
        """Whether an earlier session logged this step of a metric, where steps are done again."""
        if self._redone_from is None or step < self._redone_from:
            return False
        if name not in self._there:
            self._there[name] = {point.step for point in self._client.get_metric_history(self._run, name)}
        return step in self._there[name]

    def artifact(self, file: Path, place: str) -> None:
        """As `Tracker.artifact`."""
        self._client.log_artifact(self._run, str(file), place or None)

    def end(self, state: State) -> None:
        """As `Tracker.end`."""
        self._client.set_terminated(self._run, STATUS[state])


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is made where there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _tags(session: Session) -> list[RunTag]:
    facts: Mapping[str, Any] = {
        **session.facts,
        "folder": session.folder.resolve(),
        "mlflow.source.git.commit": session.facts.get("git_revision"),
    }
    return [RunTag(_name(key), str(value)) for key, value in facts.items() if value is not None]


def _name(name: str) -> str:
    return name.replace("@", "_at_")
