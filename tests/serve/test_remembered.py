"""Remembered states: the same as encoded ones, encoded once, and bounded."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch
from engine_helpers import make_bundle, make_engine, shop
from torch import Tensor

from onward.data.sequences import Histories
from onward.serve.lists.engine import HistoryItem, Request
from onward.serve.lists.remembered import OVERHEAD, RememberedStates
from onward.serve.lists.scoring import Scorer
from onward.serve.settings import ModelsConfig, ServeConfig
from onward.serve.store.protocol import open_store

WIDTH, LENGTH, ITEMS = 4, 3, 20
PLENTY = 2**20


class Encoder:
    """A state is the sum of the newest items, and every history that is encoded is counted."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, histories: Histories) -> Tensor:
        newest = histories.newest(LENGTH)
        lists = [newest.item[start:end].tolist() for start, end in zip(newest.start, newest.end, strict=True)]
        self.asked += lists
        return torch.tensor([[float(sum(items))] * WIDTH for items in lists])


def of(*lists: list[int]) -> Histories:
    return Histories.from_lists(lists, ITEMS)


def sums(states: Tensor) -> list[float]:
    assert states.shape[1] == WIDTH
    return states[:, 0].tolist()


def test_a_history_is_encoded_once_until_its_next_event() -> None:
    encoder = Encoder()
    states = RememberedStates(encoder, LENGTH, WIDTH, PLENTY)
    assert sums(states.states(of([1, 2], [3]))) == [3, 3]
    assert sums(states.states(of([3], [1, 2], [4]))) == [3, 3, 4]
    assert encoder.asked == [[1, 2], [3], [4]]
    assert sums(states.states(of([3, 5]))) == [8]
    assert encoder.asked[-1] == [3, 5]


def test_what_lies_before_the_window_does_not_count_and_order_does() -> None:
    encoder = Encoder()
    states = RememberedStates(encoder, LENGTH, WIDTH, PLENTY)
    assert sums(states.states(of([9, 1, 2, 3]))) == [6]
    assert sums(states.states(of([8, 1, 2, 3]))) == [6]
    assert len(encoder.asked) == 1
    states.states(of([3, 2, 1]))
    assert encoder.asked[-1] == [3, 2, 1]


def test_memory_is_bounded_and_what_is_asked_for_stays() -> None:
    encoder = Encoder()
    states = RememberedStates(encoder, LENGTH, WIDTH, 2 * 4 * (4 * WIDTH + 4 * LENGTH + OVERHEAD))  # four at a time
    for number in range(1, 19):
        assert sums(states.states(of([20], [number]))) == [20, number]
    assert encoder.asked.count([20]) == 1
    assert len(states._young) + len(states._old) <= 8
    states.states(of([1]))
    assert encoder.asked[-1] == [1]


@pytest.mark.parametrize(("mib", "encoded"), [(64.0, 1), (0.0, 3)])
def test_the_settings_say_how_much_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mib: float, encoded: int
) -> None:
    bundle = make_bundle(tmp_path / "model", shop(tmp_path / "data"))
    asked: list[Histories] = []
    encode = Scorer._encode
    monkeypatch.setattr(Scorer, "_encode", lambda self, histories: asked.append(histories) or encode(self, histories))
    with closing(open_store(tmp_path / "events.db")) as store:
        engine = make_engine(bundle, store, ServeConfig(models=ModelsConfig(remembered_mib=mib)))
        asked.clear()
        for _ in range(3):
            engine.recommend([Request(history=(HistoryItem("3"), HistoryItem("5")))])
    assert len(asked) == encoded
