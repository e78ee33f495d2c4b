"""The stages of a run. In each the libraries take turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import settings
from datafile import find_data
from drivers.events import Log
from flops import flops_per_event
from records import Records
from score import score_lists
from settings import Library
from venvs import CACHE, interpreter
from worker import Worker, environment

K = 10
CHECKPOINTS = (0.2, 0.5, 1.0)
"""When quality is measured, in shares of the time."""
SLOW_SECONDS = 10.0
"""An evaluation that takes longer is done once."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    seconds: float
    """Training of one library in one round."""
    requests: int
    """Single requests for the latency."""
    quality_seconds: float
    threads: int


class Run:
    """One run of the benchmark: data, plan, and where results go."""

    def __init__(self, data: str | None, plan: Plan, records: Records) -> None:
        self.file, self.name = find_data(data)
        self.plan, self.records = plan, records
        self.log = Log.read(str(self.file))
        self.items = len(set(self.log.items.tolist()))

    def imports(self, libraries: Sequence[Library]) -> None:
        """Seconds of the imports in a fresh interpreter; the first round, which reads the disk, is not counted."""
        self._start("imports")
        for number in range(self.plan.rounds + 1):
            for library in libraries:
                command = [str(interpreter(library.environment)), "-W", "ignore", "-c", library.imports]
                begin = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment(library, self.plan.threads))
                if number:
                    seconds = time.perf_counter() - begin
                    self.add("imports", library, do="import", environment=library.environment, seconds=seconds)

    def throughput(self, libraries: Sequence[Library], length: int) -> None:
        """Preparation, training, evaluation, lists and single requests at one length of sequences."""
        stage = f"length {length}"
        targets = self._targets(length)
        size = round(settings.BATCH * targets.mean())
        sized = [*settings.ONWARD.settings["settings"], f"model.max_length={length}"]
        flops = flops_per_event(sized, targets, self.items)
        self._start(stage, events=int(targets.sum()), batch_events=size, flops_per_event=flops)
        workers: list[Worker] = []
        try:
            for library in libraries:
                workers.append(self._worker(library, settings.throughput_config(library, length, size)))
                self.ask(stage, workers[-1], "prepare")  # before the next one starts
            for number in range(self.plan.rounds):
                self.add(stage, None, do="peak", round=number, flops=self._peak())
                for worker in workers:
                    self.ask(stage, worker, "train", round=number, seconds=self.plan.seconds)
            self._rounds(stage, workers, "evaluate")
            self._rounds(stage, workers, "recommend", k=K)
            for worker in workers:
                self.ask(stage, worker, "latency", requests=self.plan.requests, k=K)
        finally:
            for worker in workers:
                worker.close()

    def _rounds(self, stage: str, workers: Sequence[Worker], do: str, **arguments: Any) -> None:
        """A command for all in turns; who needs too long is asked once."""
        asked = list(workers)
        for number in range(self.plan.rounds):
            taken = {worker: self.ask(stage, worker, do, round=number, **arguments)["seconds"] for worker in asked}
            asked = [worker for worker in asked if taken[worker] < SLOW_SECONDS]

    def static(self, libraries: Sequence[Library]) -> None:
        """Models that are fitted in one call: everything, once."""
        self._start("static")
        for library in libraries:
            worker = self._worker(library, library.settings)
            try:
                self.ask("static", worker, "prepare")
                trained = self.ask("static", worker, "train", seconds=0.0)
                self.ask("static", worker, "evaluate")
                self.ask("static", worker, "recommend", k=K, path=self._lists(worker))
                self._score("static", worker, trained)
                self.ask("static", worker, "latency", requests=self.plan.requests, k=K)
            finally:
                worker.close()

    def quality(self, keys: Sequence[str]) -> None:
        """NDCG and HR after so many seconds from the start of the process, scored from lists by one definition."""
        self._start("quality", seconds=self.plan.quality_seconds)
        seconds = self.plan.quality_seconds
        workers: list[Worker] = []
        try:
            for key in keys:
                workers.append(self._worker(settings.QUALITY[key], settings.quality_config(key, seconds)))
                self.ask("quality", workers[-1], "prepare")
            for share in CHECKPOINTS:
                for worker in workers:
                    trained = self.ask("quality", worker, "train", until=share * seconds)
                    self.ask("quality", worker, "recommend", k=K, path=self._lists(worker))
                    self._score("quality", worker, trained)
        finally:
            for worker in workers:
                worker.close()

    def ask(self, stage: str, worker: Worker, do: str, round: int = 0, **arguments: Any) -> dict[str, Any]:
        """Ask a driver, note and show its answer."""
        answer = worker.ask(do, **arguments)
        self.add(stage, worker.library, round=round, **answer)
        return answer

    def add(self, stage: str, library: Library | None, **values: Any) -> None:
        """Note one measurement, and show it on standard error."""
        name = library.name if library else None
        self.records.add(stage=stage, library=name, **values)
        shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
        print(f"{stage:11} {name or '':13} {json.dumps(shown)}", file=sys.stderr, flush=True)

    def _start(self, stage: str, **facts: Any) -> None:
        begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        plan = vars(self.plan)
        users, events = len(self.log.users), len(self.log.items)
        self.records.start(
            stage, begun=begun, data=self.name, users=users, items=self.items, all_events=events, plan=plan, **facts
        )

    def _targets(self, length: int) -> Any:
        """(U,) events of each user that train at one length: all but the last two, less the first, the newest."""
        return (self.log.bounds[1:] - self.log.bounds[:-1] - 3).clip(0, length)

    def _worker(self, library: Library, config: dict[str, Any]) -> Worker:
        folder = CACHE / "work" / library.name.replace(" ", "-").lower()
        return Worker(library, {"data": str(self.file), **config}, folder, self.plan.threads)

    def _lists(self, worker: Worker) -> str:
        return str(CACHE / "work" / worker.library.name.replace(" ", "-").lower() / "lists.npz")

    def _score(self, stage: str, worker: Worker, answer: dict[str, Any]) -> None:
        found = score_lists(Path(self._lists(worker)), self.log)
        self.add(stage, worker.library, do="score", clock=answer["clock"], events=answer["events"], **found)

    def _peak(self) -> float:
        command = [sys.executable, str(settings.HERE / "flops.py")]
        env = environment(settings.ONWARD, self.plan.threads)
        return float(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
