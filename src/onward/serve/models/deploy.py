"""Which model answers, and how a switch goes through all workers in two phases.

A target is proposed in the store. Every worker sees it, loads, checks and warms the model while the active one goes on
answering, and announces that it has. When all have, the generation flips. A batch of requests reads the deployment
beside its histories and is answered by that model or not at all: a worker that is late says 503, never an old list.
The model before is kept loaded, so that going back takes as long as a flip.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import structlog

from onward.errors import ConflictError, OnwardError, StoreError, unknown
from onward.serve.api.problems import ApiError
from onward.serve.lists.requests import Answer, Request
from onward.serve.store.protocol import FUTURE_LIMIT, Deployment, EventStore, Worker

if TYPE_CHECKING:
    from onward.serve.lists.engine import Engine

POLL = 0.05
"""Seconds between two looks at the deployment."""
HEARTBEAT = 2.0
"""Seconds between two announcements."""
ALIVE = 10.0
"""A worker that announced nothing for so many seconds isn't waited for."""
PATIENCE = 60.0
"""Seconds that a switch waits for workers; then it goes on without those that are late."""
AGAIN = 5.0
"""Seconds between two tries to load a model that serves elsewhere."""
ABANDONED = 2 * PATIENCE
"""A target so many seconds old lost the worker that was to flip it, and is withdrawn."""

log = structlog.get_logger("onward.serve")


def alive_workers(store: EventStore) -> list[Worker]:
    """Workers that announced something lately; not those that did in the future, before the clock was set back."""
    now = time.time_ns() // 1000
    return [worker for worker in store.workers(now - int(ALIVE * 1e6)) if worker.time <= now + FUTURE_LIMIT]


class NotReady(ApiError):  # noqa: N818 - a state, not a fault
    """This worker hasn't loaded the model that serves."""

    def __init__(self) -> None:
        super().__init__(503, "not_ready", "this worker is loading the model; try again", retry_after=1.0)


class Models(Protocol):
    """Where models come from."""

    def names(self) -> list[str]:
        """Names that can be loaded."""
        ...

    def engine(self, name: str) -> Engine:
        """Load, check and warm a model. Raises OnwardError saying what is wrong with it."""
        ...

    def path(self, name: str) -> Path:
        """Its bundle's folder."""
        ...

    def receive(self, archive: IO[bytes]) -> str:
        """Take an archive of a bundle; returns its name. Raises OnwardError saying what is wrong with it."""
        ...


class Deployer:
    """One worker's engines, and its part in switching.

    Args:
        store: holds the deployment.
        models: loads them.
        worker: this worker's id, unique on the store.
    """

    def __init__(self, store: EventStore, models: Models, worker: str) -> None:
        self._store, self.models, self.worker = store, models, worker
        self._engines: dict[str, Engine] = {}
        self._stop = threading.Event()
        self._announced: tuple[int, str | None, str] | None = None
        self._announced_at = 0.0
        self._target_since: tuple[str, float] | None = None
        self._failed: dict[str, float] = {}
        self._draining = False
        self._thread = threading.Thread(target=self._watch, name="deployer", daemon=True)

    def start(self, first: str | None = None) -> None:
        """Load the active model, or the proposed one that this server starts with, and keep watching.

        Raises OnwardError when it can't be loaded.
        """
        deployment = self._store.deployment()
        name = first if first is not None and first == deployment.target else deployment.active
        if name is not None:
            self._engines[name] = self.models.engine(name)
        self._announce(deployment)
        self._thread.start()

    def close(self) -> None:
        """Leave; other workers' switches don't wait for this one any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(StoreError):  # a store that is away forgets this worker by itself
            self._store.leave(self.worker)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer a batch by the model that the store says serves. Raises NotReady when it isn't loaded here."""
        deployment = self._store.deployment()
        engine = self._engine(deployment)
        engine.generation = deployment.generation
        return engine.recommend(requests)

    @property
    def engine(self) -> Engine:
        """Of the model that serves now. Raises NotReady."""
        return self._engine(self._store.deployment())

    def drain(self) -> None:
        """Stop taking part in switches: nobody waits for this worker any more, and it waits for nobody."""
        self._draining = True

    def require_ready(self) -> Deployment:
        """The deployment, when requests are answered here. Raises NotReady, StoreError."""
        deployment = self._store.deployment()
        self._engine(deployment)
        return deployment

    def activate(self, name: str) -> Deployment:
        """Switch every worker to a model; returns after the flip, or raises and leaves the active one serving.

        Raises ApiError: 404 for a name that isn't there, 409 while another switch is under way, 422 when a worker
        refused the model.
        """
        names = self.models.names()
        if name not in names:
            raise ApiError(404, "no_such_model", unknown("model", name, names))
        before = self._store.deployment()
        if before.active == name and before.target is None:
            return before
        self._store.propose(name)
        until = time.monotonic() + PATIENCE
        while True:
            now = self._store.deployment()
            if now.generation != before.generation:
                raise ConflictError("another switch came first")
            if now.target != name:
                raise ApiError(422, "refused", f"model '{name}' was refused: {now.reason or 'it was withdrawn'}")
            late = self._late(name)
            if name in self._engines and (not late or time.monotonic() > until):
                log.info("model switched", model=name, late=len(late))
                return self._store.flip(before.generation)
            if time.monotonic() > until:
                self._store.withdraw("it took too long to load")
            elif self._draining:
                self._store.withdraw("the server that was to switch is stopping")
            time.sleep(POLL)

    def rollback(self) -> Deployment:
        """Switch back to the model before, in the same two phases. Raises ConflictError without one."""
        previous = self._store.deployment().previous
        if previous is None:
            raise ConflictError("there is no model to go back to")
        return self.activate(previous)

    def _engine(self, deployment: Deployment) -> Engine:
        engine = self._engines.get(deployment.active or "")
        if engine is None:
            raise NotReady
        return engine

    def _late(self, name: str) -> list[str]:
        alive = alive_workers(self._store)
        return [worker.id for worker in alive if worker.target != name and worker.state != "draining"]

    def _watch(self) -> None:
        while not self._stop.wait(POLL):
            try:
                self._follow(self._store.deployment())
            except StoreError:  # the store is away: requests say so; this waits for it
                self._stop.wait(HEARTBEAT)
            except Exception as error:  # a thread that watches must not die
                log.error("deployer failed", error=type(error).__name__)
                self._stop.wait(HEARTBEAT)

    def _follow(self, deployment: Deployment) -> None:
        active, target = deployment.active, deployment.target
        replaced = target in self._engines  # when a server starts with a new model: not worth loading any more
        if active is not None and active not in self._engines and not replaced and self._worth_trying(active):
            self._load(active)
        if target is None:
            self._target_since = None
        elif target not in self._engines:
            reason = self._load(target)
            if reason is not None and self._store.deployment().target == target:
                self._store.withdraw(reason)
        if target is not None:
            self._abandon(target)
        wanted = {active, target, deployment.previous}
        self._engines = {name: engine for name, engine in self._engines.items() if name in wanted}
        self._announce(self._store.deployment())

    def _worth_trying(self, name: str) -> bool:
        """Whether a model that serves, but couldn't be loaded here, may have come by now."""
        failed = self._failed.get(name)
        return failed is None or time.monotonic() - failed > AGAIN

    def _load(self, name: str) -> str | None:
        """Load a model; returns what is wrong with it, if anything."""
        started = time.monotonic()
        try:
            engine = self._engine_of(name)
        except OnwardError as error:
            reason = error.message.replace(str(self.models.path(name)), name)
        except Exception as error:
            log.error("model failed", model=name, error=type(error).__name__)
            reason = "it can't be loaded"
        else:
            self._engines = {**self._engines, name: engine}
            log.info("model loaded", model=name, seconds=round(time.monotonic() - started, 2))
            return None
        self._failed[name] = time.monotonic()
        log.warning("model refused", model=name, reason=reason)
        return reason

    def _engine_of(self, name: str) -> Engine:
        """Load a model while this worker goes on saying that it is there: others wait for nobody who is silent."""
        with ThreadPoolExecutor(1, "model-loader") as pool:
            loading = pool.submit(self.models.engine, name)
            while not wait([loading], HEARTBEAT).done:
                with suppress(StoreError):
                    self._announce(self._store.deployment())
            return loading.result()

    def _abandon(self, target: str) -> None:
        now = time.monotonic()
        if self._target_since is None or self._target_since[0] != target:
            self._target_since = (target, now)
        elif now - self._target_since[1] > ABANDONED:
            self._store.withdraw("the switch was abandoned")

    def _announce(self, deployment: Deployment) -> None:
        target = deployment.target if deployment.target in self._engines else None
        state = "ready" if deployment.active in self._engines else "loading"
        if self._draining:
            state = "draining"
        fact = (deployment.generation, target, state)
        if fact != self._announced or time.monotonic() - self._announced_at > HEARTBEAT:
            self._store.announce(self.worker, os.getpid(), *fact)
            self._announced, self._announced_at = fact, time.monotonic()
