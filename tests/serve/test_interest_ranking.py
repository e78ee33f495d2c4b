"""Lists in the order of interest, and of a mix of score and interest, under the same rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_helpers import LONG, fill, items, make_bundle, make_engine, shop

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.errors import ConfigError
from onward.serve.lists.engine import Engine, Request, Rules
from onward.serve.settings import RankingConfig, ServeConfig
from onward.serve.store.protocol import EventStore, ItemRecord, open_store

BEST = 12
USER = "0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return shop(tmp_path_factory.mktemp("interest") / "data")


@pytest.fixture(scope="module")
def bundle(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("interest") / "model", data, "gru", interest="mse", width=16)


@pytest.fixture(scope="module")
def store(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    opened = open_store(tmp_path_factory.mktemp("interest") / "events.db")
    fill(opened, data)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def engine(bundle: Bundle, store: EventStore) -> Engine:
    return make_engine(bundle, store, ServeConfig(ranking=RankingConfig(interest_best=BEST)))


@pytest.fixture(scope="module")
def expected(bundle: Bundle, data: Dataset) -> dict[str, float]:
    """Item -> the interest of the user in it, by the model's public method, item by item."""
    row = data.users["user"].to_list().index(USER)
    history = data.histories.select(slice(row, row + 1)).newest(bundle.model.config.max_length)  # type: ignore[attr-defined]
    assert int(history.lengths[0]) <= LONG
    return {
        data.catalog.id(item): float(bundle.model.interest(history, np.array([item]))[0])
        for item in range(1, len(data.catalog) + 1)
    }


def test_interest_orders_the_best_by_score(engine: Engine, expected: dict[str, float]) -> None:
    by_score, by_interest = engine.recommend([Request(USER, k=20), Request(USER, k=20, rank_by="interest")])
    best, rest = items(by_score)[:BEST], items(by_score)[BEST:]
    assert items(by_interest) == [*sorted(best, key=lambda item: -expected[item]), *rest]
    assert items(by_interest)[:BEST] != best
    for one in by_interest.items:
        assert one.interest == pytest.approx(expected[one.item], abs=1e-5)
        assert one.score == one.interest
    assert [one.interest for one in by_score.items] == [None] * 20


def test_a_mix_is_of_standard_deviations(engine: Engine, expected: dict[str, float]) -> None:
    (by_score,) = engine.recommend([Request(USER, k=BEST)])
    scores = np.array([one.score for one in by_score.items])
    interest = np.array([expected[item] for item in items(by_score)])
    for weight in (0.25, 0.5):
        mixed = (1 - weight) * (scores - scores.mean()) / scores.std() + weight * (
            interest - interest.mean()
        ) / interest.std()
        (found,) = engine.recommend([Request(USER, k=BEST, rank_by="mix", interest_weight=weight)])
        assert items(found) == [items(by_score)[place] for place in np.argsort(-mixed)]
        np.testing.assert_allclose([one.score for one in found.items], np.sort(mixed)[::-1], rtol=1e-3, atol=1e-4)
    (nothing, everything) = engine.recommend(
        [Request(USER, k=BEST, rank_by="mix", interest_weight=weight) for weight in (0.0, 1.0)]
    )
    assert items(nothing) == items(by_score)
    assert [expected[item] for item in items(everything)] == sorted(interest, reverse=True)


def test_rules_hold_for_interest(engine: Engine, expected: dict[str, float]) -> None:
    (plain,) = engine.recommend([Request(USER, k=5, rank_by="interest")])
    first, last = items(plain)[0], items(plain)[-1]
    rules = [
        Rules(deny=(first,)),
        Rules(pinned=("58", last)),
        Rules(at_most={"genre": 1}),
        Rules(boost={last: 20.0}),
        Rules(where="price < 20"),
    ]
    denied, pinned, varied, boosted, cheap = engine.recommend(
        [Request(USER, k=5, rank_by="interest", rules=one) for one in rules]
    )
    assert first not in items(denied)
    assert items(pinned)[:2] == ["58", last]
    assert pinned.items[1].score == pytest.approx(expected[last], abs=1e-5)
    genres = Counter(part for item in items(varied) for part in _genres(engine, item))
    assert max(genres.values()) == 1
    assert items(boosted)[0] == last
    assert all(int(item) < 20 for item in items(cheap))
    values = [one.score for one in cheap.items if not one.fallback]
    assert values == sorted(values, reverse=True)


def _genres(engine: Engine, item: str) -> list[str]:
    facts = engine.item(item)
    genre = None if facts is None else facts.features.get("genre")
    return [] if genre is None else genre if isinstance(genre, list) else [str(genre)]  # type: ignore[return-value]


def test_the_server_says_and_requests_say_otherwise(bundle: Bundle, store: EventStore, engine: Engine) -> None:
    own = make_engine(bundle, store, ServeConfig(ranking=RankingConfig(rank_by="interest", interest_best=BEST)))
    said, otherwise, mixed = own.recommend(
        [Request(USER), Request(USER, rank_by="score"), Request(USER, rank_by="mix", interest_weight=0.5)]
    )
    by_interest, by_score, half = engine.recommend(
        [Request(USER, rank_by="interest"), Request(USER), Request(USER, rank_by="mix")]
    )
    assert [items(one) for one in (said, otherwise, mixed)] == [items(one) for one in (by_interest, by_score, half)]
    (nobody,) = own.recommend([Request("nobody")])
    assert nobody.fallback is not None
    assert {one.interest for one in nobody.items} == {None}


def test_items_added_at_run_time_do_not_get_in_the_way(bundle: Bundle, store: EventStore) -> None:
    store.put_items([ItemRecord("new", {"genre": "comedy"})])
    engine = make_engine(bundle, store, ServeConfig(ranking=RankingConfig(rank_by="interest")))
    (found,) = engine.recommend([Request(USER, k=5, rules=Rules(pinned=("new",)))])
    assert (items(found)[0], found.items[0].interest) == ("new", None)
    assert all(one.interest is not None for one in found.items[1:] if not one.fallback)
    store.delete_items(["new"])


def test_a_model_that_learned_none(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "model", data, "gru", width=16)
    engine = make_engine(plain, store)
    with pytest.raises(ConfigError, match="the model 'shop' learned no interest"):
        engine.recommend([Request(USER, rank_by="mix")])
    with pytest.raises(ConfigError, match="rank_by = 'interest'"):
        make_engine(plain, store, ServeConfig(ranking=RankingConfig(rank_by="interest")))
