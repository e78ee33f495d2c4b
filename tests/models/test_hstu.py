"""HSTU's block against its equations, its time buckets, and when it is told the time of the request."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.models.base import Items, build
from onward.models.features.times import time_buckets
from onward.models.hstu import HSTU, HSTUBlock, HSTUConfig

SECOND = 1_000_000
DAY = 86_400 * SECOND


def _model(**settings: object) -> HSTU:
    torch.manual_seed(0)
    items = Items(np.arange(9), np.arange(9, dtype=np.int32))
    model = build(HSTU, {"width": 6, "dropout": 0.0, "max_length": 5, **settings}, items)
    for parameter in model.parameters():  # away from the symmetric start, so that every term counts
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def _histories(items: list[int], times: list[int], at: int | None = None) -> Histories:
    columns = {"item": np.array(items, np.int32), "time": np.array(times, np.int64)}
    return Histories(columns, np.array([0]), np.array([len(items)]), 8, None if at is None else np.array([at]))


def test_buckets_are_two_a_doubling() -> None:
    seconds = [-9e9, -1, 0, 0.4, 1, 1.49, 1.5, 1.99, 2, 2.99, 3, 4, 6, 1024, 1535, 1536, 1e18 / SECOND]
    buckets = time_buckets(torch.tensor([int(s * SECOND) for s in seconds]), 30)
    assert buckets.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 20, 20, 21, 29]


def _norm(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()


def _silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def test_a_block_follows_its_equations_step_by_step() -> None:
    torch.manual_seed(1)
    block = HSTUBlock(HSTUConfig(width=6, heads=2, max_length=4, time_buckets=8)).eval()
    for parameter in (block.position_bias, block.time_bias):
        torch.nn.init.normal_(parameter)
    x = torch.randn(4, 6)
    distance = (torch.arange(4)[:, None] - torch.arange(4)).clamp(min=0)
    bucket = torch.randint(0, 8, (4, 4))
    share = torch.tril(torch.ones(4, 4)) / torch.arange(1, 5)[:, None]
    parts = _silu(torch.stack([_norm(row) for row in x]) @ block.gate_value_query_key.weight.T)
    gate, value, query, key = parts.split(6, dim=1)
    wanted = []
    for i in range(4):
        mixed = torch.zeros(6)
        for j in range(i + 1):
            bias = block.position_bias[i - j] + block.time_bias[bucket[i, j]]
            for head in (slice(0, 3), slice(3, 6)):
                mixed[head] += _silu(query[i, head] @ key[j, head] + bias) / (i + 1) * value[j, head]
        wanted.append(x[i] + block.project.weight @ (_norm(mixed) * gate[i]) + block.project.bias)
    torch.testing.assert_close(block(x[None], distance, bucket[None], share)[0], torch.stack(wanted))


def test_a_later_request_is_answered_otherwise_and_a_missing_time_is_that_of_the_newest_event() -> None:
    model = _model()
    items, times = [3, 1, 7], [0, 5 * SECOND, DAY]
    soon, later = (model.score(_histories(items, times, DAY + after)) for after in (SECOND, 30 * DAY))
    assert not torch.allclose(soon, later)
    untold = model.score(_histories(items, times))
    model.blocks[0].time_bias.data[1:4] += 1  # 1.5 s to 4 s: no two of these events are that far apart
    torch.testing.assert_close(model.score(_histories(items, times)), untold)


def test_events_without_times_count_as_simultaneous() -> None:
    model = _model()
    timeless = Histories.from_lists([[3, 1, 7]], 8)
    torch.testing.assert_close(model.score(timeless), model.score(_histories([3, 1, 7], [DAY] * 3)))
    at = Histories.from_lists([[3, 1, 7]], 8, at=np.array([DAY]))
    assert torch.equal(model.score(timeless), model.score(at))


def test_requests_that_share_a_beginning_are_scored_as_if_alone_whenever_they_come() -> None:
    model = _model()
    random = np.random.default_rng(0)
    time = np.cumsum(random.integers(1, DAY, 10))
    start, end = np.array([0, 0, 0, 0, 6, 6, 0, 0]), np.array([3, 3, 4, 2, 8, 9, 10, 4])
    # some when the next event comes, so that they can share a row, and some at a time of their own
    at = np.array([time[3], time[3] + 40 * DAY, time[4], time[2], time[8], time[9], time[9] + 1, time[4] + 99])
    columns = {"item": np.array([1, 2, 3, 4, 5, 6, 7, 8, 1, 3], np.int32), "time": time}
    together = model.score(Histories(columns, start, end, 8, at))
    for row, (first, last) in enumerate(zip(start, end, strict=True)):
        window = slice(max(first, last - 5), last)
        alone = _histories(columns["item"][window].tolist(), time[window].tolist(), at[row])
        torch.testing.assert_close(together[row], model.score(alone)[0])


def test_every_state_of_a_training_batch_is_that_of_a_request_at_the_targets_time() -> None:
    model = _model().eval()
    items, times = [3, 1, 7, 7, 2], [0, 90 * SECOND, DAY, 9 * DAY, 9 * DAY + SECOND]
    histories = _histories(items, times)
    batch = Steps(histories, request_time="target").train(np.array([0]), np.array([4]))
    assert batch.request_times.tolist() == times[1:]
    with torch.no_grad():
        states = model.states(batch)
    for step in range(4):
        asked = _histories(items[: step + 1], times[: step + 1], times[step + 1])
        torch.testing.assert_close(states[step], model.last_states(asked)[0])


@pytest.mark.parametrize("heads", [1, 3])
def test_rows_in_chunks_give_the_same_states(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(heads=heads)
    histories = Histories.from_lists([[1, 2, 3], [4], [5, 6, 7, 8], [2, 2]], 8)
    whole = model.score(histories)
    monkeypatch.setattr("onward.models.hstu.CHUNK_WEIGHTS", 1)
    torch.testing.assert_close(model.score(histories), whole)
