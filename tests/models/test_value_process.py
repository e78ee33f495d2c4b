"""What past values say: against the regression written out, event by event."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Items
from onward.models.objective import ObjectiveConfig
from onward.models.value_process import ValueProcess

N_ITEMS = 12
CONFIG = {"interest_factors": 3, "interest_drift": 0.4, "interest_drift_events": 4.0, "interest_bias_penalty": 2.0}


def rated(seed: int = 0, lengths: tuple[int, ...] = (9, 1, 5, 20)) -> Histories:
    rng = np.random.default_rng(seed)
    end = np.cumsum(lengths)
    columns = {
        "item": rng.integers(1, N_ITEMS, end[-1]).astype(np.int32),
        "value": rng.integers(1, 6, end[-1]).astype(np.float32),
    }
    return Histories(columns, end - np.array(lengths), end, N_ITEMS)


def items_of(training: Histories) -> Items:
    sets = [["a"], ["a", "b"], None, ["c"]] * 3
    table = pl.DataFrame({"genre": sets, "maker": [str(row % 2) for row in range(N_ITEMS)], "year": range(N_ITEMS)})
    kinds = {"genre": "categories", "maker": "category", "year": "number"}
    return Items(training.item_counts(), np.arange(N_ITEMS + 1, dtype=np.int32), table, kinds)


def made(**settings: object) -> ValueProcess:
    process = ValueProcess(ObjectiveConfig.parse({**CONFIG, **settings}), N_ITEMS)
    process.start(rated(), items_of(rated()), 0)
    return process


def written_out(process: ValueProcess, items: np.ndarray, interest: np.ndarray) -> tuple[np.ndarray, float]:
    """The vector and the offset after a whole history, by one solve over its known events."""
    config = process.config
    known = ~np.isnan(interest)
    place, items, interest = np.flatnonzero(known), items[known], interest[known]
    vectors = process.vectors[items].double().numpy()
    beyond = interest - process.of_items()[items].double().numpy()

    def moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        gap = np.abs(one[:, None] - other)
        return config.interest_drift * np.exp(-gap / config.interest_drift_events)

    covariance = 1 / config.interest_bias_penalty + vectors @ vectors.T / config.interest_factor_penalty
    covariance = covariance + moved(place, place)
    weights = np.linalg.solve(covariance + np.eye(len(place)), beyond)
    next_place = np.array([len(known)])
    offset = weights.sum() / config.interest_bias_penalty + (moved(place, next_place)[:, 0] * weights).sum()
    return vectors.T @ weights / config.interest_factor_penalty, float(offset)


@pytest.mark.parametrize("categories", [(), ("genre",), ("genre", "maker")])
def test_after_every_event_it_is_the_regression_on_the_events_so_far(categories: tuple[str, ...]) -> None:
    process, histories = made(interest_categories=categories), rated(1)
    steps = Steps(histories)
    batch = steps.encode(steps.start, steps.end)
    assert batch.values is not None
    interest = (batch.values - 1) / 4
    interest[[0, 4, 12]] = torch.nan
    told = process.told(interest, batch)
    for start, end in zip(histories.start.tolist(), histories.end.tolist(), strict=True):
        for last in range(start + 1, end + 1):
            vector, offset = written_out(process, histories.item[start:last], interest[start:last].double().numpy())
            np.testing.assert_allclose(told.vector[last - 1], vector, atol=1e-5)
            assert told.offset[last - 1].item() == pytest.approx(offset, abs=1e-5)


def test_moves_long_past_overflow_nothing() -> None:
    process, histories = made(interest_drift_events=0.5), rated(2, (1500,))
    steps = Steps(histories)
    batch = steps.encode(steps.start, steps.end)
    assert batch.values is not None
    interest = (batch.values - 1) / 4
    told = process.told(interest, batch)
    vector, offset = written_out(process, histories.item, interest.double().numpy())
    np.testing.assert_allclose(told.vector[-1], vector, atol=1e-4)
    assert told.offset[-1].item() == pytest.approx(offset, abs=1e-4)


def test_a_basket_is_one_event_of_its_members_means() -> None:
    process = made(interest_factors=2)
    histories = rated(3, (6,))
    steps = Steps(
        Histories({**histories.columns, "group": np.array([0, 0, 1, 2, 2, 2])}, np.array([0]), np.array([6]), N_ITEMS)
    )
    batch = steps.encode(steps.start, steps.end)
    assert batch.values is not None
    told = process.told((batch.values - 1) / 4, batch)
    assert len(told.offset) == 3
    # the same from items that are the baskets' means
    baskets = [histories.item[:2], histories.item[2:3], histories.item[3:]]
    means = [torch.stack([table[basket].mean(0) for basket in baskets]) for table in (process.vectors, process.bias)]
    process.vectors[1:4], process.bias[1:4], process.trained[1:4] = *means, 1.0
    vector, offset = written_out(process, np.array([1, 2, 3]), ((batch.values - 1) / 4).double().numpy())
    np.testing.assert_allclose(told.vector[-1], vector, atol=1e-5)
    assert told.offset[-1].item() == pytest.approx(offset, abs=1e-5)


def test_what_an_item_is_valued_at_says_nothing_where_training_never_saw_it() -> None:
    process = made()
    columns = {"item": np.array([3, N_ITEMS, 5], np.int32), "value": np.array([5, 1, 2], np.float32)}
    steps = Steps(Histories(columns, np.array([0]), np.array([3]), N_ITEMS))
    batch = steps.encode(steps.start, steps.end)
    told = [process.told(torch.tensor([1.0, unseen, 0.25]), batch) for unseen in (0.0, torch.nan)]
    torch.testing.assert_close(told[0].offset, told[1].offset)
    torch.testing.assert_close(told[0].vector, told[1].vector)


def test_categories_are_rows_of_length_one_and_a_loaded_process_has_them() -> None:
    process = made(interest_categories=("genre",), interest_category_weight=0.5)
    assert process.vectors.shape == (N_ITEMS + 1, 3 + 3)
    found = process.vectors[:5, 3:]
    half = 0.5 * 2**-0.5
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [half, half, 0], [0, 0, 0], [0, 0, 0.5]]))
    loaded = ValueProcess(process.config, N_ITEMS)
    loaded.load_state_dict(process.state_dict())
    torch.testing.assert_close(loaded.vectors, process.vectors)


@pytest.mark.parametrize(("name", "said"), [("genres", "genre"), ("year", "column of categories")])
def test_a_column_without_categories_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(interest_categories=(name,))


def test_too_many_categories_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onward.models.value_process.MOST_CATEGORIES", 2)
    with pytest.raises(ConfigError, match="'genre' has 3 categories"):
        made(interest_categories=("genre",))
