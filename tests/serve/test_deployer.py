"""Workers' parts in a switch, without servers: what each loads, announces and answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_helpers import until

from forked import LONGEST
from onward.serve.lists.engine import Engine
from onward.serve.lists.requests import Request
from onward.serve.models import deploy
from onward.serve.models.deploy import Deployer, NotReady
from onward.serve.models.shelf import Shelf
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import EventStore


class SlowShelf(Shelf):
    """The models `first` and `second`; loading the second takes until it is let go."""

    def __init__(self, store: EventStore, models: Path) -> None:
        super().__init__(store, ServeConfig(), str(models), None)
        self.begun, self.let_go = threading.Event(), threading.Event()

    def engine(self, name: str) -> Engine:
        if name == "second":
            self.begun.set()
            assert self.let_go.wait(LONGEST)
        return super().engine(name)


@pytest.fixture
def workers(store: EventStore, models: Path) -> Iterator[list[tuple[Deployer, SlowShelf]]]:
    """Two workers on one store, which serve `first`."""
    store.propose("first")
    store.flip(0)
    made = []
    for name in ("a", "b"):
        shelf = SlowShelf(store, models)
        made.append((Deployer(store, shelf, name), shelf))
        made[-1][0].start()
    yield made
    for deployer, shelf in made:
        shelf.let_go.set()
        deployer.close()


def answered(workers: list[tuple[Deployer, SlowShelf]]) -> list[tuple[str, int]]:
    """Model and generation that each worker answers by now."""
    return [(answer.model, answer.generation) for one, _ in workers for answer in one.answer([Request()])]


def test_nothing_flips_before_every_worker_has_loaded(
    workers: list[tuple[Deployer, SlowShelf]], store: EventStore
) -> None:
    (one, quick), (_, slow) = workers
    quick.let_go.set()
    with ThreadPoolExecutor(1) as pool:
        switching = pool.submit(one.activate, "second")
        until(lambda: any(worker.target == "second" for worker in store.workers()))
        with pytest.raises(TimeoutError):  # it would have flipped by now if it waited for nobody
            switching.result(timeout=0.3)
        assert answered(workers) == [("first", 1)] * 2
        slow.let_go.set()
        assert switching.result(LONGEST).active == "second"
    assert answered(workers) == [("second", 2)] * 2
    assert one.rollback().active == "first"
    assert answered(workers) == [("first", 3)] * 2


def test_a_worker_that_loads_for_long_still_says_that_it_is_there(
    workers: list[tuple[Deployer, SlowShelf]], store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "HEARTBEAT", 0.05)
    (one, quick), (_, slow) = workers
    with ThreadPoolExecutor(1) as pool:
        switching = pool.submit(one.activate, "second")
        assert slow.begun.wait(LONGEST)
        quick.let_go.set()

        def said() -> int:
            return next(worker.time for worker in store.workers() if worker.id == "b")

        begun = said()
        until(lambda: said() > begun)  # whoever is silent isn't waited for
        assert not switching.done()
        slow.let_go.set()
        assert switching.result(LONGEST).active == "second"


def test_a_worker_that_is_late_answers_nothing_and_never_by_the_old_model(
    workers: list[tuple[Deployer, SlowShelf]], store: EventStore
) -> None:
    store.propose("second")
    store.flip(1)  # as if it had been loaded elsewhere
    for deployer, shelf in workers:
        with pytest.raises(NotReady):
            deployer.answer([Request()])
        shelf.let_go.set()
        until(lambda deployer=deployer: _ready(deployer))
    assert answered(workers) == [("second", 2)] * 2


def _ready(deployer: Deployer) -> bool:
    try:
        deployer.require_ready()
    except NotReady:
        return False
    return True
