"""Reasons are true of the model: leaving the event out changes the score by the effect. Similar items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_helpers import LONG, fill, make_bundle, make_engine

from onward.data.dataset import Dataset
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.serve.lists.engine import HistoryItem, Request
from onward.serve.settings import ReasonsConfig, ServeConfig
from onward.serve.store.protocol import EventStore, ItemRecord


@pytest.mark.parametrize("name", ["sasrec", "hstu", "item-knn", "markov"])
def test_an_effect_is_what_the_score_loses_without_the_event(
    name: str, data: Dataset, store: EventStore, tmp_path: Path
) -> None:
    settings = {"width": 8, "max_length": 10} if name in ("sasrec", "hstu") else {}
    bundle = make_bundle(tmp_path / "model", data, name, **settings)
    fill(store, data, [2])
    engine = make_engine(bundle, store, ServeConfig(reasons=ReasonsConfig(count=LONG)))
    user = data.users["user"][2]
    answer, other = engine.recommend([Request(user=user, k=4, reasons=True), Request(user=user, k=4)])
    assert all(one.reasons == () for one in other.items)
    start, end = int(data.histories.start[2]), int(data.histories.end[2])
    start = max(start, end - 10) if settings else start
    time = data.histories.time
    assert time is not None
    for ranked in answer.items:
        index = int(bundle.catalog.index([ranked.item])[0])
        wanted = {}
        for place in range(start, end):
            rest = [p for p in range(start, end) if p != place]
            columns = {key: column[rest] for key, column in data.histories.columns.items()}
            without = Histories(columns, np.array([0]), np.array([len(rest)]), data.histories.n_items)
            wanted[int(time[place])] = ranked.score - float(bundle.model.score(without)[0, index])
        assert len(ranked.reasons) == len(wanted)
        found = {reason.time: reason.effect for reason in ranked.reasons}
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        sizes = [abs(reason.effect) for reason in ranked.reasons]
        assert sizes == sorted(sizes, reverse=True)
        for reason in ranked.reasons:
            place = int(np.flatnonzero(time[start:end] == reason.time)[0]) + start
            assert reason.item == data.catalog.id(int(data.histories.item[place]))
            assert reason.title == f"Item {reason.item}"


def test_the_only_event_is_the_whole_reason(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10)
    engine = make_engine(bundle, store)
    answer = engine.recommend([Request(history=(HistoryItem("3"),), k=2, reasons=True)])[0]
    for ranked in answer.items:
        assert [(one.item, one.time) for one in ranked.reasons] == [("3", None)]
        assert ranked.reasons[0].effect == pytest.approx(ranked.score)


def test_what_popularity_gives_has_no_reasons(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    engine = make_engine(make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10), store)
    for request in (Request(k=3, reasons=True), Request(history=(HistoryItem("nothing"),), k=3, reasons=True)):
        assert all(one.reasons == () and one.fallback for one in engine.recommend([request])[0].items)


def test_similar_items_by_vectors(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10)
    engine = make_engine(bundle, store)
    vectors = bundle.model.state()["input.weight"].numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    trained = bundle.model.items.candidates
    item = int(np.flatnonzero(trained)[4])
    cosine = np.where(trained, vectors @ vectors[item], -np.inf)
    cosine[item] = -np.inf
    wanted = np.argsort(-cosine)[:6]
    found = engine.similar(bundle.catalog.id(item), 6)
    assert [one.item for one in found] == [bundle.catalog.id(int(index)) for index in wanted]
    assert [one.score for one in found] == pytest.approx(cosine[wanted].tolist(), rel=1e-5)
    assert [one.position for one in found] == [1, 2, 3, 4, 5, 6]


def test_similar_items_by_what_comes_with_one(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", data, "item-knn")
    engine = make_engine(bundle, store)
    item = int(np.argmax(bundle.model.items.train_counts))
    lists = bundle.model.recommend(Histories.from_lists([[item]], len(bundle.catalog)), 5, seen="exclude")
    assert [one.item for one in engine.similar(bundle.catalog.id(item), 5)] == [
        bundle.catalog.id(int(index)) for index in lists.items[0]
    ]


def test_an_item_without_likeness_and_one_that_nobody_knows(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    engine = make_engine(make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10), store)
    store.put_items([ItemRecord("tent")])
    assert engine.similar("tent") == ()
    assert engine.similar("59") == ()
    with pytest.raises(ConfigError, match="no item 'nothing'"):
        engine.similar("nothing")
    gone = engine.similar("3", 1)[0].item
    store.delete_items([gone])
    assert gone not in [one.item for one in engine.similar("3", 60)]
