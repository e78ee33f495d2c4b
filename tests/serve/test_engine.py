"""The engine gives the lists that the model gives for the same histories."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from engine_helpers import LONG, START, fill, items, make_bundle, make_engine, shop

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.models.base import Lists
from onward.serve.lists.engine import Answer, Engine, HistoryItem, Request, Rules
from onward.serve.lists.rules import Seen
from onward.serve.settings import FallbackConfig, ServeConfig
from onward.serve.store.protocol import Event, EventStore, ItemRecord

TRAINING_ONLY = ServeConfig(fallback=FallbackConfig(recent_days=0))
K = 7


@pytest.fixture
def engine(bundle: Bundle, data: Dataset, store: EventStore) -> Engine:
    fill(store, data)
    return make_engine(bundle, store, TRAINING_ONLY)


def names(data: Dataset) -> list[str]:
    return data.users["user"].to_list()


def assert_same(answer: Answer, lists: Lists, row: int, bundle: Bundle) -> None:
    """Design, section 6: scores within 1e-5 relative, and items that differ only inside such near-ties."""
    wanted = [bundle.catalog.id(index) for index in lists.items[row] if index]
    found = [one.score for one in answer.items]
    np.testing.assert_allclose(found, lists.scores[row][: len(wanted)], rtol=1e-5, atol=1e-6)
    assert [one.item for one in answer.items] == wanted


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sasrec", {"width": 8, "max_length": 10}),
        ("gru", {"width": 8, "max_length": 10}),
        ("gru", {"width": 8, "max_length": 10, "loss": "mse"}),
        ("gru", {"width": 8, "max_length": 10, "repeat": True}),
        ("hstu", {"width": 8, "max_length": 10}),
        ("bert4rec", {"width": 8, "max_length": 10}),
        ("item-knn", {}),
        ("user-knn", {}),
        ("markov", {}),
        ("ease", {}),
        ("popularity", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())) or "default",
)
def test_lists_are_those_of_the_model(
    name: str, settings: dict[str, object], data: Dataset, store: EventStore, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "model", data, name, **settings)
    fill(store, data)
    engine = make_engine(bundle, store, TRAINING_ONLY)
    wanted = bundle.model.recommend(data.histories, K, seen=bundle.manifest.seen)
    together = engine.recommend([Request(user=user, k=K) for user in names(data)])
    for row, user in enumerate(names(data)):
        assert_same(together[row], wanted, row, bundle)
        assert_same(engine.recommend([Request(user=user, k=K)])[0], wanted, row, bundle)


@pytest.mark.parametrize(("name", "seen"), [("hstu", "exclude"), ("gru", "include")])
def test_the_time_of_the_request_is_told_to_a_model_that_was_trained_with_it(
    name: str, seen: Seen, data: Dataset, store: EventStore, tmp_path: Path
) -> None:
    settings: dict[str, object] = {"width": 8, "max_length": 10, "repeat": seen == "include"}
    bundle = make_bundle(tmp_path / "model", data, name, request_time="target", **settings)
    fill(store, data)
    engine = make_engine(bundle, store, TRAINING_ONLY)
    assert data.histories.time is not None
    soon = data.histories.time[data.histories.end - 1] + 60_000_000
    for at in (soon, soon + 40 * 86_400_000_000):
        wanted = bundle.model.recommend(replace(data.histories, at=at), K, seen=seen)
        asked = [Request(user, k=K, at=int(when)) for user, when in zip(names(data), at, strict=True)]
        for row, answer in enumerate(engine.recommend([replace(one, rules=Rules(seen=seen)) for one in asked])):
            assert_same(answer, wanted, row, bundle)
    assert not np.allclose(wanted.scores, bundle.model.recommend(replace(data.histories, at=soon), K, seen=seen).scores)


def test_events_at_or_after_the_time_of_the_request_are_left_out(bundle: Bundle, data: Dataset, engine: Engine) -> None:
    time_of = data.histories.time
    assert time_of is not None
    cut = data.histories.end - 2
    wanted = bundle.model.recommend(replace(data.histories, end=cut), K, seen=bundle.manifest.seen)
    asked = [Request(user=user, k=K, at=int(time_of[at])) for user, at in zip(names(data), cut, strict=True)]
    for row, answer in enumerate(engine.recommend(asked)):
        assert_same(answer, wanted, row, bundle)


def test_events_of_one_time_are_one_group_where_the_training_data_had_groups(store: EventStore, tmp_path: Path) -> None:
    data = shop(tmp_path / "dataset", ties=True)
    bundle = make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10)
    assert bundle.manifest.data.grouped
    fill(store, data)
    engine = make_engine(bundle, store, TRAINING_ONLY)
    wanted = bundle.model.recommend(data.histories, K, seen=bundle.manifest.seen)
    for row, answer in enumerate(engine.recommend([Request(user=user, k=K) for user in names(data)])):
        assert_same(answer, wanted, row, bundle)


def test_duplicates_count_once_where_the_training_data_had_none(store: EventStore, tmp_path: Path) -> None:
    rows = {"user": [0, 0, 0, 1, 1], "item": [1, 1, 2, 2, 3], "time": [START, START, START + 5, START, START + 9]}
    data = prepare(pl.DataFrame(rows), tmp_path / "dataset", duplicates="last")
    assert len(data.histories.item) == 4
    bundle = make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10)
    events = zip(rows["user"], rows["item"], rows["time"], strict=True)
    store.append([Event(str(n), str(u), str(i), t * 1_000_000) for n, (u, i, t) in enumerate(events)])
    engine = make_engine(bundle, store, TRAINING_ONLY)
    answer = engine.recommend([Request(user="0", k=1)])[0]
    assert answer.history_events == 2
    assert_same(answer, bundle.model.recommend(data.histories, 1, seen=bundle.manifest.seen), 0, bundle)


def test_a_typed_history_gives_the_list_of_the_stored_one(engine: Engine, data: Dataset) -> None:
    ids = [data.catalog.id(int(index)) for index in data.histories.item[:LONG]]
    typed = engine.recommend([Request(history=tuple(HistoryItem(item) for item in ids), k=K)])[0]
    stored = engine.recommend([Request(user=names(data)[0], k=K)])[0]
    assert items(typed) == items(stored)
    assert typed.items[0].score == stored.items[0].score


def test_unknown_items_are_counted_and_passed_over(engine: Engine, store: EventStore) -> None:
    store.append([Event("a", "new", "3"), Event("b", "new", "no such thing"), Event("c", "new", "4")])
    mixed, clean = engine.recommend(
        [Request(user="new", k=K), Request(history=(HistoryItem("3"), HistoryItem("4")), k=K)]
    )
    assert (mixed.history_events, mixed.unknown_items) == (2, 1)
    assert items(mixed) == items(clean)


def test_events_of_unknown_items_take_no_place_from_known_ones(
    engine: Engine, bundle: Bundle, data: Dataset, store: EventStore
) -> None:
    """The model reads 10 events; of the newest 10 of this user it knows two."""
    known = [int(item) for item in data.histories.item[:12]]
    ids = [bundle.catalog.id(item) for item in known[:10]] + ["what"] * 30 + [bundle.catalog.id(known[10]), "who"] * 2
    store.append([Event(f"e{n}", "odd", item, START * 1_000_000 + n) for n, item in enumerate(ids)])
    answer = engine.recommend([Request(user="odd", k=K)])[0]
    history = [*known[:10], known[10], known[10]]
    lists = bundle.model.recommend(Histories.from_lists([history], len(bundle.catalog)), K, seen=bundle.manifest.seen)
    assert_same(answer, lists, 0, bundle)
    assert answer.unknown_items == 32


def test_the_next_request_knows_an_acknowledged_event(engine: Engine, store: EventStore) -> None:
    before = engine.recommend([Request(user="new", k=K)])[0]
    assert before.fallback == "popular"
    store.append([Event("a", "new", "3")])
    after = engine.recommend([Request(user="new", k=K)])[0]
    assert after.fallback is None
    assert after.history_events == 1
    assert "3" not in items(after)


def test_somebody_unknown_gets_what_the_model_gives_without_a_history(
    engine: Engine, bundle: Bundle, data: Dataset
) -> None:
    nobody = bundle.model.recommend(replace(data.histories, end=data.histories.start), K)
    assert_same(engine.recommend([Request(k=K)])[0], nobody, 0, bundle)


def test_seen_items_are_those_of_the_whole_history_not_of_the_models_window(engine: Engine, data: Dataset) -> None:
    """User 0 has 25 events, and the model reads 10."""
    whole = {data.catalog.id(int(index)) for index in data.histories.item[:LONG]}
    assert len(whole - {data.catalog.id(int(index)) for index in data.histories.item[LONG - 10 : LONG]}) > 0
    rules = Rules(seen="exclude")
    assert not whole & set(items(engine.recommend([Request(user=names(data)[0], k=55, rules=rules)])[0]))
    rules = Rules(seen="include")
    assert whole <= set(items(engine.recommend([Request(user=names(data)[0], k=55, rules=rules)])[0]))


def test_what_was_seen_at_or_after_the_time_of_the_request_is_no_secret_to_the_list(
    engine: Engine, data: Dataset
) -> None:
    """User 0 has 25 events, and the model reads 10."""
    time_of = data.histories.time
    assert time_of is not None
    cut = 15
    before = {data.catalog.id(int(index)) for index in data.histories.item[:cut]}
    asked = Request(user=names(data)[0], k=60, at=int(time_of[cut]), rules=Rules(seen="exclude"))
    assert set(data.catalog.ids) - before == set(items(engine.recommend([asked])[0]))


def test_seen_can_be_limited_to_days_and_to_actions(engine: Engine, store: EventStore) -> None:
    now = time.time_ns() // 1000
    day = 86_400_000_000
    store.append(
        [
            Event("a", "new", "1", now - 9 * day, "buy"),
            Event("b", "new", "2", now - 8 * day, "view"),
            Event("c", "new", "3", now - day, "view"),
            Event("d", "new", "4", now - day, "buy"),
        ]
    )

    def missing(**rules: object) -> set[str]:
        asked = Request(user="new", k=60, rules=Rules(seen="exclude", **rules))  # type: ignore[arg-type]
        return {"1", "2", "3", "4"} - set(items(engine.recommend([asked])[0]))

    assert missing() == {"1", "2", "3", "4"}
    assert missing(seen_days=5) == {"3", "4"}
    assert missing(seen_actions=("buy",)) == {"1", "4"}
    assert missing(seen_days=5, seen_actions=("buy",)) == {"4"}
    assert missing(seen_actions=("share",)) == set()
    typed = tuple(HistoryItem(item, action=action) for item, action in (("1", "buy"), ("2", "view")))
    found = engine.recommend([Request(history=typed, k=60, rules=Rules(seen_actions=("buy",), seen="exclude"))])[0]
    assert "1" not in items(found)
    assert "2" in items(found)


def test_a_window_of_days_looks_past_what_the_model_reads(engine: Engine, store: EventStore) -> None:
    now = time.time_ns() // 1000
    store.append([Event(str(n), "busy", str(n), now - 1_000_000 * (40 - n)) for n in range(40)])
    found = engine.recommend([Request(user="busy", k=60, rules=Rules(seen="exclude", seen_days=1))])[0]
    assert not {str(n) for n in range(40)} & set(items(found))


def test_stages_are_told_and_the_name_of_the_model(engine: Engine) -> None:
    answer = engine.recommend([Request(history=(HistoryItem("3"),), k=3, reasons=True)])[0]
    assert set(answer.stages) == {"history", "model", "rank", "reasons"}
    assert all(seconds >= 0 for seconds in answer.stages.values())
    assert (answer.model, answer.generation) == ("shop", 0)


def test_an_item_added_at_run_time_is_found_by_its_events_from_then_on(engine: Engine, store: EventStore) -> None:
    store.append([Event("a", "new", "3"), Event("b", "new", "tent")])
    assert engine.recommend([Request(user="new")])[0].unknown_items == 1
    store.put_items([ItemRecord("tent", {"title": "Tent", "genre": "camping"})])
    answer = engine.recommend([Request(user="new", k=60, rules=Rules(seen="exclude"))])[0]
    assert "tent" not in items(answer)  # seen, now that it is an item
    assert answer.unknown_items == 1  # but the model still can't read it
    assert "tent" in items(engine.recommend([Request(user="other", k=61)])[0])
    history = (HistoryItem("tent", action="view"), HistoryItem("3"), HistoryItem("no such thing"))
    typed = engine.recommend([Request(history=history, k=60, rules=Rules(seen="exclude"))])[0]
    assert typed.unknown_items == 2
    assert not {"tent", "3"} & set(items(typed))


def test_a_deleted_item_is_in_no_list_from_the_next_request_on(engine: Engine, store: EventStore) -> None:
    first = engine.recommend([Request(k=K)])[0].items[0].item
    store.delete_items([first])
    assert first not in items(engine.recommend([Request(k=60)])[0])
    assert first not in items(engine.recommend([Request(history=(HistoryItem("3"),), k=60)])[0])
    fact = engine.item(first)
    assert fact is not None
    assert fact.deleted


def test_look_ups(engine: Engine, store: EventStore) -> None:
    fact = engine.item("3")
    assert fact is not None
    assert (fact.title, fact.features["price"], fact.deleted) == ("Item 3", 3.0, False)
    assert engine.item("no such thing") is None
    store.put_items([ItemRecord("3", {"title": "Renamed", "price": 2})])
    fact = engine.item("3")
    assert fact is not None
    assert (fact.title, fact.features) == ("Renamed", {"title": "Renamed", "price": 2})
    assert {one.title for one in engine.recommend([Request(k=60)])[0].items if one.item == "3"} == {"Renamed"}
