"""Micro-batches: what comes while a batch is computed makes the next, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial

import pytest

from onward.errors import ConfigError, Overloaded
from onward.serve.lists.batcher import Batcher
from onward.serve.lists.requests import Answer, Request

LONGEST = 20.0


def answer(request: Request) -> Answer:
    return Answer((), str(request.user), 0, None, 0, 0, 0, {})


class Held:
    """Answers nothing until it is let go; remembers the batches that it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str | None]] = []
        self.let_go, self.begun = threading.Event(), threading.Event()

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        self.batches.append([request.user for request in requests])
        self.begun.set()
        assert self.let_go.wait(LONGEST)
        for request in requests:
            if request.user == "bad":
                raise ConfigError("no such thing")
            if request.user == "broken":
                raise RuntimeError("a fault")
        return [answer(request) for request in requests]


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def make(held: Held) -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def one(max_batch: int = 4, max_wait: float = 0.0, max_queue: int = 6) -> Batcher:
        made.append(Batcher(held, max_batch, max_wait, max_queue))
        return made[-1]

    yield one
    held.let_go.set()
    for batcher in made:
        batcher.close()


def submit(batcher: Batcher, *users: str) -> list[Future[Answer]]:
    futures = []
    for user in users:
        futures.append(future := Future[Answer]())
        batcher.submit(Request(user=user), partial(settle, future))
    return futures


def settle(future: Future[Answer], result: Answer | Exception) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def test_what_comes_while_a_batch_is_computed_makes_the_next(make: Callable[..., Batcher], held: Held) -> None:
    batcher = make()
    first = submit(batcher, "a")
    assert held.begun.wait(LONGEST)
    others = submit(batcher, "b", "c", "d", "e", "f")
    held.let_go.set()
    assert [future.result(LONGEST).model for future in first + others] == ["a", "b", "c", "d", "e", "f"]
    assert held.batches == [["a"], ["b", "c", "d", "e"], ["f"]]
    assert all(future.result().stages["queue"] >= 0 for future in others)


def test_a_batch_that_is_not_full_waits_for_more(make: Callable[..., Batcher], held: Held) -> None:
    batcher = make(max_batch=2, max_wait=LONGEST)
    held.let_go.set()
    assert [future.result(LONGEST).model for future in submit(batcher, "a", "b")] == ["a", "b"]
    assert held.batches == [["a", "b"]]


def test_more_than_the_queue_holds_is_refused_and_nothing_else_suffers(
    make: Callable[..., Batcher], held: Held
) -> None:
    batcher = make(max_queue=2)
    first = submit(batcher, "a")
    assert held.begun.wait(LONGEST)
    waiting = submit(batcher, "b", "c")
    assert batcher.waiting == 2
    with pytest.raises(Overloaded, match="2 requests are waiting") as caught:
        submit(batcher, "d")
    assert caught.value.retry_after > 0
    held.let_go.set()
    assert [future.result(LONGEST).model for future in first + waiting] == ["a", "b", "c"]


def test_only_whoever_asked_for_what_cannot_be_done_is_told_so(make: Callable[..., Batcher], held: Held) -> None:
    batcher = make()
    submit(batcher, "a")
    assert held.begun.wait(LONGEST)
    good, bad, other = submit(batcher, "b", "bad", "c")
    held.let_go.set()
    assert [good.result(LONGEST).model, other.result(LONGEST).model] == ["b", "c"]
    with pytest.raises(ConfigError):
        bad.result(LONGEST)


def test_a_fault_is_everyones_of_the_batch_and_the_next_goes_on(make: Callable[..., Batcher], held: Held) -> None:
    batcher = make()
    submit(batcher, "a")
    assert held.begun.wait(LONGEST)
    both = submit(batcher, "b", "broken")
    held.let_go.set()
    for future in both:
        with pytest.raises(RuntimeError):
            future.result(LONGEST)
    assert submit(batcher, "c")[0].result(LONGEST).model == "c"


def test_closing_answers_what_waits_and_takes_nothing_more(make: Callable[..., Batcher], held: Held) -> None:
    batcher = make()
    futures = submit(batcher, "a", "b")
    held.let_go.set()
    batcher.close()
    assert [future.result(0).model for future in futures] == ["a", "b"]
    with pytest.raises(Overloaded):
        submit(batcher, "c")
