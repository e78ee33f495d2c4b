"""Rules of the server and of a request: what is in a list, in which order, and what fills it."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine_helpers import ITEMS, fill, items, make_engine
from pydantic import ValidationError

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.errors import ConfigError, ExpressionError
from onward.serve.lists.engine import Answer, Engine, HistoryItem, Request, Rules
from onward.serve.lists.items import json_column
from onward.serve.settings import FallbackConfig, ServeConfig, read_settings
from onward.serve.store.protocol import Event, EventStore, ItemRecord

HISTORY = (HistoryItem("1"), HistoryItem("2"))
TRAINING_ONLY = FallbackConfig(recent_days=0)


@pytest.fixture
def engine(bundle: Bundle, store: EventStore) -> Engine:
    return make_engine(bundle, store, ServeConfig(fallback=TRAINING_ONLY))


def ask(engine: Engine, k: int = 10, history: tuple[HistoryItem, ...] | None = HISTORY, **rules: object) -> Answer:
    return engine.recommend([Request(history=history, k=k, rules=Rules(**rules))])[0]  # type: ignore[arg-type]


def price(item: str) -> float | None:
    return float(item) if int(item) < 50 else None


def genres(item: str) -> list[str]:
    names = ("comedy", "drama", "horror")
    n = int(item)
    return [] if n == 7 else [names[n % 3], names[(n + 1) % 3]] if n % 3 == 0 else [names[n % 3]]


def test_allow_and_deny(engine: Engine) -> None:
    assert set(items(ask(engine, allow=("3", "4", "5", "nothing"), deny=("4",)))) == {"3", "5"}
    everything = items(ask(engine, k=ITEMS, seen="include"))
    assert items(ask(engine, k=ITEMS, seen="include", deny=("9",))) == [item for item in everything if item != "9"]
    assert items(ask(engine, allow=())) == []


def test_where(engine: Engine) -> None:
    whole = [item for item in items(ask(engine, k=ITEMS)) if price(item) is not None]
    cheap = [item for item in whole if float(item) < 20 and "comedy" in genres(item)]
    assert items(ask(engine, k=ITEMS, where='genre = "comedy" and price < 20')) == cheap
    with pytest.raises(ExpressionError):
        ask(engine, where="price <")


def test_at_most_so_many_of_one_value(engine: Engine) -> None:
    whole = items(ask(engine, k=ITEMS))
    found = items(ask(engine, k=8, at_most={"genre": 3}))
    counts: Counter[str] = Counter()
    wanted = []
    for item in whole:  # slowly and obviously
        if all(counts[genre] < 3 for genre in genres(item)):
            counts.update(genres(item))
            wanted.append(item)
    assert found == wanted[:8]
    assert max(Counter(genre for item in found for genre in genres(item)).values()) == 3
    by_brand = items(ask(engine, k=8, at_most={"brand": 2}))
    assert len(by_brand) == 4  # two brands: a text is one value, not the words in it
    with pytest.raises(ConfigError, match="unknown item feature 'gender'; did you mean 'genre'"):
        ask(engine, at_most={"gender": 1})


def test_pinned_items_come_first_seen_or_not_but_never_against_a_filter(engine: Engine) -> None:
    answer = ask(engine, k=5, seen="exclude", pinned=("40", "1", "nothing", "9", "40"), deny=("9",))
    assert items(answer)[:2] == ["40", "1"]
    assert [one.pinned for one in answer.items] == [True, True, False, False, False]
    plain = ask(engine, k=ITEMS, seen="include")
    scores = {one.item: one.score for one in plain.items}
    assert [one.score for one in answer.items] == pytest.approx([scores[item] for item in items(answer)])
    assert [one.position for one in answer.items] == [1, 2, 3, 4, 5]
    assert len(set(items(answer))) == 5
    assert items(ask(engine, k=1, pinned=("40", "41"))) == ["40"]


def test_a_pinned_item_counts_against_at_most(engine: Engine) -> None:
    found = items(ask(engine, k=6, pinned=("1", "4"), at_most={"genre": 2}))
    assert found[:2] == ["1", "4"]
    assert not any("drama" in genres(item) for item in found[2:])


def test_a_boost_is_counted_in_standard_deviations(engine: Engine, bundle: Bundle) -> None:
    plain = {one.item: one.score for one in ask(engine, k=ITEMS, seen="include").items if not one.fallback}
    last = list(plain)[-1]
    boosted = ask(engine, k=ITEMS, seen="include", boost={last: 3.0, "nothing": 1.0})
    first = next(one for one in boosted.items if one.item == last)
    from onward.data.sequences import Histories

    index = bundle.catalog.index(["1", "2"]).tolist()
    usual = bundle.model.score(Histories.from_lists([index], len(bundle.catalog)))[0, 1:].std(correction=0)
    assert first.score - plain[last] == pytest.approx(3 * float(usual), rel=1e-4)
    assert first.position < list(plain).index(last) + 1
    lowered = items(ask(engine, k=3, boost={next(iter(plain)): -50.0}))
    assert next(iter(plain)) not in lowered


def test_rules_of_the_server_hold_beside_those_of_a_request(bundle: Bundle, store: EventStore) -> None:
    own = Rules(where="price < 30", deny=("3",), at_most={"genre": 4}, pinned=("5",), boost={"6": 2.0}, seen="include")
    engine = make_engine(bundle, store, ServeConfig(rules=own, fallback=TRAINING_ONLY))
    plain = engine.recommend([Request(history=HISTORY, k=ITEMS)])[0]
    assert items(plain)[0] == "5"
    assert all(float(item) < 30 and item != "3" for item in items(plain))
    both = ask(engine, k=ITEMS, where="price > 10", pinned=("12", "2"), seen="exclude", at_most={"genre": 9})
    assert items(both)[0] == "12"
    assert all(10 < float(item) < 30 for item in items(both))
    assert max(Counter(genre for item in items(both) for genre in genres(item)).values()) == 4


def test_a_batch_of_different_rules_is_answered_as_each_alone(engine: Engine, store: EventStore, data: Dataset) -> None:
    fill(store, data)
    requests = [
        Request(user="0", k=5),
        Request(user="1", k=9, rules=Rules(where="price < 20")),
        Request(k=4, rules=Rules(where="price < 20", at_most={"genre": 1})),
        Request(history=HISTORY, k=3, rules=Rules(pinned=("9",), boost={"8": 4.0})),
        Request(user="nobody", k=6, rules=Rules(seen="include", deny=("0", "1"))),
        Request(user="2", k=12, rules=Rules(at_most={"brand": 2})),
        Request(user="1", k=2, reasons=True),
    ]
    for request, together in zip(requests, engine.recommend(requests), strict=True):
        alone = engine.recommend([request])[0]
        assert items(together) == items(alone)
        assert [one.score for one in together.items] == pytest.approx([one.score for one in alone.items], rel=1e-5)
        assert together.fallback == alone.fallback


def test_a_list_is_full_whenever_enough_items_pass(engine: Engine, bundle: Bundle) -> None:
    """Items 55 and up were never trained on, 50 and up have no price."""
    answer = ask(engine, k=8, where="price is missing")
    assert len(answer.items) == 8
    assert answer.fallback == "popular"
    assert [one.fallback for one in answer.items] == sorted(one.fallback for one in answer.items)
    assert {"55", "56", "57", "58", "59"} >= {one.item for one in answer.items[-5:] if one.fallback}
    everything = ask(engine, k=ITEMS + 5, seen="include")
    assert sorted(items(everything)) == sorted(bundle.catalog.ids)
    assert ask(engine, k=5).fallback is None


def test_recent_popularity_fills_first_and_says_so(bundle: Bundle, store: EventStore) -> None:
    store.put_items([ItemRecord("tent", {"title": "Tent", "price": 5})])
    store.append([Event(f"{n}", f"u{n}", "tent") for n in range(3)] + [Event("x", "u", "58"), Event("y", "u", "bogus")])
    engine = make_engine(bundle, store)
    nobody = ask(engine, k=5, history=None)
    assert nobody.fallback == "recent"
    assert items(nobody)[:2] == ["tent", "58"]
    assert "bogus" not in items(ask(engine, k=ITEMS + 5, history=None))
    assert nobody.items[0].title == "Tent"
    assert nobody.items[0].score == pytest.approx(np.log1p(3))
    filled = ask(engine, k=3, where='item in ("58", "10", "tent")')
    assert items(filled) == ["10", "tent", "58"]
    assert [one.fallback for one in filled.items] == [False, True, True]
    assert filled.fallback == "recent"
    capped = ask(engine, k=5, history=None, at_most={"genre": 1})
    assert items(capped)[0] == "tent"  # it has no genre, and so counts for none


def test_what_is_recent_is_counted_anew_in_time(bundle: Bundle, store: EventStore) -> None:
    settings = ServeConfig(fallback=FallbackConfig(refresh_seconds=1e-6))
    engine = make_engine(bundle, store, settings)
    assert ask(engine, k=1, history=None).fallback == "popular"
    store.append([Event("x", "u", "58")])
    end = 1_000
    while ask(engine, k=1, history=None).fallback != "recent":  # each one starts a count
        end -= 1
        assert end, "it was never counted"
    assert items(ask(engine, k=1, history=None)) == ["58"]


def test_rules_over_features_of_run_time_items(engine: Engine, store: EventStore) -> None:
    with pytest.raises(ExpressionError, match="unknown item feature 'colour'"):
        ask(engine, where='colour = "red"')
    store.put_items(
        [
            ItemRecord("tent", {"colour": "red", "price": "12.5", "genre": "comedy"}),
            ItemRecord("3", {"colour": "red", "price": "dear"}),
            ItemRecord("rope", {"colour": ["red", "blue"]}),
        ]
    )
    assert set(items(ask(engine, where='colour = "red"'))) == {"tent", "3", "rope"}
    assert set(items(ask(engine, k=ITEMS, where="price > 12 and price < 14"))) == {"tent", "13"}
    assert "3" in items(ask(engine, where='colour = "red" and price is missing'))
    store.delete_items(["rope"])
    assert set(items(ask(engine, where='colour = "blue"'))) == set()
    # what no number can hold, and names that only we use
    store.put_items([ItemRecord("odd", {"colour": "odd", "price": 10**400, "item": 5, "_row": "x", "time": "1e999"})])
    assert set(items(ask(engine, where='colour = "odd" and price is missing'))) == {"odd"}


@pytest.mark.parametrize(
    ("dtype", "values", "read"),
    [
        (pl.Int64(), [7, None, "8"], [7, None, 8]),
        (pl.Int64(), [7, 1.5], [7.0, 1.5]),
        (pl.Int64(), [7, 10**400, "many"], [7, None, None]),
        (pl.Float64(), [7, 10**400], [7.0, None]),
        (pl.String(), [7, True, "x"], ["7", "true", "x"]),
        (pl.List(pl.String), ["x", ["y", 7]], [["x"], ["y", "7"]]),
    ],
)
def test_json_becomes_a_column_of_the_catalogs_type(dtype: pl.DataType, values: list[Any], read: list[Any]) -> None:
    made = json_column(values, dtype)
    assert made.to_list() == read
    if made.dtype == pl.Int64:  # as a category, 7 is not 7.0
        assert made.drop_nulls().cast(pl.String).to_list() == [str(one) for one in read if one is not None]


@pytest.mark.parametrize("word", ["seen_days", "boost", "at_most"])
def test_a_number_of_a_rule_is_a_number(word: str) -> None:
    for value in (2, True, "2"):
        body = json.dumps({word: value if word == "seen_days" else {"genre": value}})
        with nullcontext() if value == 2 else pytest.raises(ValidationError):
            Rules.model_validate_json(body)


def test_rules_of_the_server_must_fit_the_catalog(bundle: Bundle, store: EventStore) -> None:
    with pytest.raises(ConfigError, match="unknown item feature 'prise'"):
        make_engine(bundle, store, ServeConfig(rules=Rules(where="prise < 3")))
    with pytest.raises(ConfigError, match="unknown item feature 'gender'"):
        make_engine(bundle, store, ServeConfig(rules=Rules(at_most={"gender": 3})))


def test_the_old_items_go_on_when_the_rules_of_the_server_no_longer_fit(bundle: Bundle, store: EventStore) -> None:
    store.put_items([ItemRecord("tent", {"colour": "red"})])
    engine = make_engine(bundle, store, ServeConfig(rules=Rules(where="colour is missing")))
    store.put_items([ItemRecord("tent", {"size": 3})])
    assert "tent" not in items(ask(engine, k=ITEMS + 5))
    store.put_items([ItemRecord("tent", {"colour": "red"}), ItemRecord("rope", {"size": 3})])
    assert "rope" in items(ask(engine, k=ITEMS + 5))


def test_many_rules_are_forgotten_and_made_again(engine: Engine) -> None:
    first = items(ask(engine, where="price < 20"))
    for n in range(1_100):
        engine.passing(Rules(where=f"price < {n}"))
    assert len(engine._now.book._plans) <= 1_024
    assert items(ask(engine, where="price < 20")) == first


def test_serve_toml(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        """
[rules]
where = 'price < 20'
seen_days = 30
at_most = { genre = 3 }
boost = { "4" = 0.5 }
[fallback]
recent_days = 2
[impressions]
sample = 0.1
""",
        encoding="utf-8",
    )
    settings = read_settings(file)
    assert settings.rules == Rules(where="price < 20", seen_days=30, at_most={"genre": 3}, boost={"4": 0.5})
    assert (settings.fallback.recent_days, settings.impressions.sample) == (2, 0.1)
    file.write_text("[rules]\nwere = 'price < 20'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown setting 'were'; did you mean 'where'"):
        read_settings(file)
    file.write_text("[rules]\nat_most = { genre = 0 }\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"at_most\.genre = 0"):
        read_settings(file)
    assert read_settings(None) == ServeConfig()
