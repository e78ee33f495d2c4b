"""The service: what the API and the page ask, answered by the store and by the engine of the model that serves.

No HTTP in it. Methods that wait for other threads are coroutines; the others may read the store and take a
millisecond, so coroutines call them through `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO

from onward.errors import FormatError
from onward.serve.api.completion import Completions, Done, result_of, then
from onward.serve.api.keys import Keys
from onward.serve.api.metrics import Metrics
from onward.serve.api.problems import ApiError, no_such_item, said
from onward.serve.api.replies import (
    DeploymentOut,
    HistoryEvent,
    HistoryOut,
    ItemOut,
    ModelsOut,
    SimilarItem,
    SimilarOut,
    WorkerOut,
)
from onward.serve.lists.batcher import Batcher
from onward.serve.lists.requests import Answer, Request
from onward.serve.models.deploy import Deployer, alive_workers
from onward.serve.settings import ServeConfig
from onward.serve.store.forgetting import bundles_with_user_rows
from onward.serve.store.protocol import Event, EventStore, Impression, Outcome, Receipt

CLICK = "click"
"""Action of the event that a click on a list is."""
POLICY = "top"
"""What chooses lists: the best scores, without chance."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """A list and the name under which its impression is kept."""

    request_id: str
    answer: Answer


class Service:
    """One worker's parts, put together.

    Attributes:
        store: events, impressions, items, keys.
        settings: `serve.toml`.
        deployer: the models, and which of them serves.
        keys: who may do what.
        metrics: what is counted.
        worker: number of this worker, from 0.
    """

    def __init__(
        self,
        store: EventStore,
        settings: ServeConfig,
        deployer: Deployer,
        keys: Keys,
        metrics: Metrics,
        worker: int = 0,
    ) -> None:
        self.store, self.settings, self.deployer = store, settings, deployer
        self.keys, self.metrics, self.worker = keys, metrics, worker
        self.draining = False
        batch = settings.batch
        self.batcher = Batcher(deployer.answer, batch.size, batch.wait_ms / 1000, batch.queue)
        self._waiters: Completions | None = None
        self._lock, self._ids, self._last_key = threading.Lock(), [""], 0
        self._request_prefix, self._request_numbers = secrets.token_hex(6), count(1)

    @property
    def _completions(self) -> Completions:
        loop = asyncio.get_running_loop()
        if self._waiters is None or self._waiters.loop is not loop:
            self._waiters = Completions(loop)
        return self._waiters

    def start_list(self, request: Request, done: Done[Recommended]) -> None:
        """Have a list made; its impression is logged. On the event loop, which `done` is called on.

        Raises, or tells `done`: Overloaded, NotReady, StoreError, ConfigError for bad rules.
        """
        logged = then(done, lambda answer: self._logged(request, answer))
        self.batcher.submit(request, self._completions.on_loop(logged))

    def start_lists(self, requests: Sequence[Request], done: Done[list[Recommended]]) -> None:
        """Have several lists made, told in order; all or none. As `start_list`."""
        logged = then(done, lambda answers: [self._logged(*one) for one in zip(requests, answers, strict=True)])
        answers: list[Answer | Exception | None] = [None] * len(requests)
        left = len(requests)

        def told(place: int, result: Answer | Exception) -> None:
            nonlocal left
            answers[place], left = result, left - 1
            if not left:
                logged(next((one for one in answers if isinstance(one, Exception)), answers))

        for place, request in enumerate(requests):
            self.batcher.submit(request, self._completions.on_loop(partial(told, place)))

    def start_events(self, events: Sequence[Event], done: Done[list[Outcome]]) -> None:
        """Have events stored; `done` is told on the event loop when they are durable.

        Raises, or tells `done`: StoreError.
        """
        started = time.perf_counter()

        def counted(outcomes: list[Outcome]) -> list[Outcome]:
            self.metrics.events(events, outcomes, time.perf_counter() - started)
            return outcomes

        self.store.append_soon(events, self._completions.on_loop(then(done, counted)))

    async def recommend(self, request: Request) -> Recommended:
        """`start_list`, and wait."""
        return await result_of(partial(self.start_list, request))

    async def add_events(self, events: Sequence[Event]) -> list[Outcome]:
        """`start_events`, and wait."""
        return await result_of(partial(self.start_events, events))

    def history(self, user: str, limit: int) -> HistoryOut:
        """A user's newest events, oldest first."""
        stored = self.store.history(user, limit)
        ids, actions = self._item_ids(int(stored.items.max(initial=0))), self.store.action_names()
        groups, features = self.store.groups(stored.seqs), self.store.event_features(stored.seqs)
        rows = zip(
            stored.items.tolist(),
            stored.times.tolist(),
            stored.actions.tolist(),
            stored.values.tolist(),
            stored.seqs.tolist(),
            strict=True,
        )
        events = [
            HistoryEvent(
                item=ids[item],
                time=when,
                action=actions[action] or None,
                value=None if math.isnan(value) else value,
                group=groups.get(seq),
                features=features.get(seq, {}),
            )
            for item, when, action, value, seq in rows
        ]
        return HistoryOut(user=user, events=events)

    def item(self, item: str) -> ItemOut | None:
        """An item of the catalog as it is now; None for one that it doesn't have. Raises NotReady."""
        facts = self.deployer.engine.item(item)
        if facts is None:
            return None
        return ItemOut(id=facts.item, title=facts.title, features=facts.features, deleted=facts.deleted)

    def similar(self, item: str, k: int) -> SimilarOut:
        """Items that are like one. Raises ApiError 404 for an item that the catalog doesn't have, NotReady."""
        engine = self.deployer.engine
        if engine.item(item) is None:
            raise no_such_item()
        found = engine.similar(item, k)
        items = [SimilarItem(item=one.item, title=one.title, score=one.score, position=one.position) for one in found]
        return SimilarOut(item=item, items=items)

    def models(self) -> ModelsOut:
        """The models here, which of them serves, and the workers."""
        return ModelsOut(
            models=self.deployer.models.names(),
            deployment=DeploymentOut.model_validate(self.store.deployment()),
            workers=[WorkerOut.model_validate(worker) for worker in alive_workers(self.store)],
        )

    def receive_model(self, archive: IO[bytes]) -> str:
        """Take an uploaded model, check it, and put it among the others; returns its name. Raises ApiError 422."""
        try:
            return self.deployer.models.receive(archive)
        except FormatError as error:  # its words are about what was sent, not about this server
            raise ApiError(422, "refused", said(error)) from None

    def exposition(self) -> bytes:
        """All metrics for Prometheus."""
        return self.metrics.exposition(self.store)

    def forget(self, user: str) -> Receipt:
        """Remove everything of a user. The receipt names models as they are called here."""
        models = self.deployer.models
        names = {str(models.path(name)): name for name in models.names()}
        receipt = self.store.forget(user, [Path(path) for path in names if _has_manifest(Path(path))])
        return replace(receipt, bundles=tuple(names[path] for path in receipt.bundles))

    def drain(self) -> None:
        """Say that this worker is stopping; what is under way is finished."""
        self.draining = True
        self.deployer.drain()

    def close(self) -> None:
        """Answer what waits, write what waits, stop."""
        self.batcher.close()
        self.deployer.close()
        self.store.close()

    def _item_ids(self, key: int) -> list[str]:
        """Ids of items by the store's key, at least up to one."""
        with self._lock:
            if key >= len(self._ids):
                self._ids += [""] * (key + 1 - len(self._ids))
                for place, item in self.store.items_after(self._last_key):
                    self._ids += [""] * (place + 1 - len(self._ids))
                    self._ids[place] = item
                    self._last_key = place
            return self._ids

    def _logged(self, request: Request, answer: Answer) -> Recommended:
        request_id = f"{self._request_prefix}-{next(self._request_numbers):x}"
        items = tuple(ranked.item for ranked in answer.items)
        now = time.time_ns() // 1000
        impression = Impression(request_id, request.user, items, POLICY, None, answer.model, now)
        self.store.log_impressions([impression], durable=False)
        self.metrics.answered(answer)
        return Recommended(request_id, answer)


def _has_manifest(folder: Path) -> bool:
    """Whether a bundle can be asked if it holds users; a damaged one can't serve, and must not stand in the way."""
    try:
        bundles_with_user_rows([folder])
    except FormatError:
        return False
    return True
