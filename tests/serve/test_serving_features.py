"""A model that reads features, behind the engine: new items, what comes with a request, actions of past events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from server_helpers import Server

from onward.bundle import load_bundle
from onward.client import Client
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.models.features.attach import histories_for
from onward.models.sequence import SequenceModel
from onward.recommend import recommend
from onward.serve.lists.engine import Engine, HistoryItem, Request
from onward.serve.lists.scoring import Scorer
from onward.serve.models.folder import load_model
from onward.serve.replay.run import replay
from onward.serve.settings import ServeConfig
from onward.serve.store.importing import DatasetEvents, import_events
from onward.serve.store.protocol import EventStore, ItemRecord, open_store
from onward.text import encoders
from onward.train.run import train

COLORS = 4
ITEMS = 24
START = 1_600_000_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Each user stays with items of one color; users' towns say which."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(160):
        color = user % COLORS
        for step in range(8):
            item = COLORS * int(random.integers(ITEMS // COLORS)) + color
            rows.append((f"u{user}", f"i{item}", 1_600_000_000 + 4000 * user + 3600 * step, ["view", "buy"][step % 2]))
    log = pl.DataFrame(rows, schema=["user", "item", "time", "action"], orient="row")
    items = pl.DataFrame({"item": [f"i{n}" for n in range(ITEMS)], "color": [f"c{n % COLORS}" for n in range(ITEMS)]})
    users = pl.DataFrame({"user": [f"u{n}" for n in range(160)], "town": [f"t{n % COLORS}" for n in range(160)]})
    return prepare(log, tmp_path_factory.mktemp("features") / "data", items=items, users=users)


def _run(dataset: Dataset, folder: Path, features: str) -> Path:
    settings = ["train.epochs=12", "model.width=16", "train.learning_rate=0.02", f"model.features={features}"]
    return train(dataset, "gru", folder, protocol="last", settings=settings, progress=False).folder


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(dataset, tmp_path_factory.mktemp("features") / "run", "all")


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return open_store(str(tmp_path / "store.db"))


def _engine(run: Path, store: EventStore) -> Engine:
    settings = ServeConfig()
    return Engine(load_model("features", run / "model", settings), store, settings)


def test_items_added_now_are_in_the_next_list_where_they_suit(run: Path, store: EventStore) -> None:
    engine = _engine(run, store)
    histories = [tuple(HistoryItem(f"i{n}") for n in (color, color + 4, color + 8)) for color in (1, 2)]
    asked = [Request(history=history, k=2 * ITEMS) for history in histories]

    def lists() -> list[list[str]]:
        return [[one.item for one in answer.items] for answer in engine.recommend(asked)]

    assert not {"one", "two"} & {item for listed in lists() for item in listed}
    # a color that training never had is unknown, which is no reason to fail
    store.put_items(
        [ItemRecord("one", {"color": "c1"}), ItemRecord("two", {"color": "c2"}), ItemRecord("x", {"color": "?"})]
    )
    ones, twos = lists()
    assert ones.index("one") < ones.index("two")
    assert twos.index("two") < twos.index("one")
    assert "x" in ones
    assert engine.similar("one", 3)
    store.delete_items(["one"])
    assert "one" not in lists()[0]


def test_a_new_item_scores_as_one_of_the_catalog_that_looks_the_same_and_has_no_events(
    dataset: Dataset, tmp_path: Path
) -> None:
    untouched = pl.DataFrame({"item": ["late", "later"], "color": ["c1", "c2"]})
    items = pl.concat([dataset.catalog.frame.select(untouched.columns), untouched])
    log = pl.DataFrame(
        [(f"u{u}", f"i{COLORS * n + u % COLORS}", 3600 * (20 * u + n)) for u in range(40) for n in range(6)]
        + [("u1", "late", 10**9), ("u2", "later", 10**9)],
        schema=["user", "item", "time"],
        orient="row",
    )
    data = prepare(log, tmp_path / "data", items=items, time_unit="s")
    settings = ["train.epochs=2", "model.width=16", "model.features=all", "split.valid_from=2160000000000"]
    settings += ["split.test_from=900000000000000"]
    folder = train(data, "gru", tmp_path / "run", protocol="time", settings=settings, progress=False).folder
    bundle = load_bundle(folder)
    assert isinstance(bundle.model, SequenceModel)
    assert bundle.model.likeness is not None
    scorer = Scorer(bundle)
    frame = bundle.catalog.frame
    late = frame["item"].to_list().index("late") + 1
    wider = scorer.with_items(frame[late - 1 : late], np.array([frame.height + 1]), frame.height + 1)
    histories = Histories.from_lists([[1, 5], [2], [late]], data.manifest.items)
    found = wider.scores(histories)
    torch.testing.assert_close(found[:, -1], found[:, late])
    torch.testing.assert_close(found[:, :-1], bundle.model.score_histories(histories))
    torch.testing.assert_close(wider.cosines(1)[:-1], scorer.cosines(1))
    torch.testing.assert_close(wider.cosines(late)[-1], torch.tensor(1.0))


def test_items_that_come_one_by_one_score_as_if_they_had_come_together(run: Path, store: EventStore) -> None:
    engine, asked = _engine(run, store), [Request(history=(HistoryItem("i1"), HistoryItem("i5")), k=2 * ITEMS)]

    def scores(of: Engine) -> dict[str, float]:
        return {one.item: one.score for one in of.recommend(asked)[0].items}

    changes = [
        ItemRecord("one", {"color": "c1"}),
        ItemRecord("i9", {"color": "c2"}),  # the model's own, with another color
        ItemRecord("two", {"color": "c2"}),
        ItemRecord("one", {"color": "c3"}),
    ]
    before = scores(engine)
    for change in changes:
        store.put_items([change])
        assert change.id in scores(engine)
    store.delete_items(["two", "i13"])
    store.put_items([ItemRecord("two", {"color": "c0"})])
    one_by_one = scores(engine)
    assert one_by_one.keys() == {*before, "one", "two"} - {"i13"}
    assert one_by_one["i9"] != before["i9"]
    assert one_by_one == pytest.approx(scores(_engine(run, store)), abs=1e-6)


class English:
    """Vectors of texts by an encoder that knows English alone."""

    name, english, fingerprint, width = "english", True, "english", 32

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return encoders.NGrams().encode(texts)[:, : self.width]


def test_a_new_item_with_a_title_that_its_encoder_cannot_read(
    tmp_path: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(encoders, "text_encoder", lambda _: English())
    monkeypatch.setattr(encoders, "text_encoder_for", lambda _: encoders.Choice("minilm", "as if it were there"))
    log = pl.DataFrame(
        [(f"u{user}", f"i{(user + step) % ITEMS}", START + step) for user in range(40) for step in range(8)],
        schema=["user", "item", "time"],
        orient="row",
    )
    titles = [f"{('tea', 'tent', 'lamp', 'rope')[n % 4]} of the kind {n}" for n in range(ITEMS)]
    items = pl.DataFrame({"item": [f"i{n}" for n in range(ITEMS)], "title": titles})
    folder = _run(prepare(log, tmp_path / "data", items=items), tmp_path / "run", "all")
    engine = _engine(folder, store)
    store.put_items([ItemRecord("red", {"title": "红楼梦"}), ItemRecord("blue", {"title": "tea of the kind 99"})])
    listed = {one.item: one.title for one in engine.recommend([Request(history=(HistoryItem("i1"),), k=99)])[0].items}
    assert (listed["red"], listed["blue"]) == ("红楼梦", "tea of the kind 99")


def test_who_asks_decides_where_there_is_no_history(run: Path, store: EventStore) -> None:
    engine = _engine(run, store)
    for number in range(COLORS):
        answer = engine.recommend([Request(history=(), k=3, context={"town": f"t{number}"})])[0]
        assert answer.fallback is None
        assert int(answer.items[0].item[1:]) % COLORS == number


def test_a_graph_is_asked_for_states_alone_where_it_counts_who_asks(dataset: Dataset, run: Path) -> None:
    plain, model = load_bundle(run).model, load_bundle(run).model
    assert isinstance(plain, SequenceModel)
    assert isinstance(model, SequenceModel)
    assert model.asks_more

    class Graph:
        """Knows the weights' states, and of lists nothing."""

        states = staticmethod(lambda histories: plain.encoded(histories).numpy())
        best = None

    model.quick = Graph()  # type: ignore[assignment]
    history = histories_for(model, dataset).select(slice(0, 1))
    found, wanted = model.recommend(history, 5), plain.recommend(history, 5)
    np.testing.assert_array_equal(found.items, wanted.items)
    np.testing.assert_allclose(found.scores, wanted.scores)


def test_reasons_of_a_request_that_brings_who_asks(run: Path, store: EventStore) -> None:
    engine = _engine(run, store)
    history = tuple(HistoryItem(item) for item in ("i1", "i5", "i9"))
    told = [Request(history=history, k=2, context={"town": f"t{town}"}, reasons=True) for town in (1, 2)]
    fitting, other = (answer.items[0] for answer in engine.recommend(told))
    assert {reason.item for reason in fitting.reasons} <= {"i1", "i5", "i9"}
    assert fitting.reasons
    assert [one.effect for one in fitting.reasons] != [one.effect for one in other.reasons]


def test_the_server_answers_as_offline(dataset: Dataset, tmp_path: Path, store: EventStore) -> None:
    run = _run(dataset, tmp_path / "run", '["items", "action"]')
    engine = _engine(run, store)
    rows = dataset.histories.columns["action"][:8]
    actions = [dataset.manifest.actions[code] for code in rows]
    items = [dataset.catalog.id(index) for index in dataset.histories.item[:8].tolist()]
    user = dataset.users["user"][0]
    history = tuple(HistoryItem(item, action=action) for item, action in zip(items, actions, strict=True))
    answer = engine.recommend([Request(history=history, k=5)])[0]
    offline = recommend(run, user=user, k=5, dataset=dataset)
    assert [one.item for one in answer.items] == [one.item for one in offline.items]
    np.testing.assert_allclose([one.score for one in answer.items], [one.score for one in offline.items], rtol=1e-4)
    other = engine.recommend([Request(history=tuple(HistoryItem(item) for item in items), k=5)])[0]
    assert [one.score for one in other.items] != [one.score for one in answer.items]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """A log whose events have features of every kind, one of them known at the request; and a run that reads all."""
    folder, random = tmp_path_factory.mktemp("eventful"), np.random.default_rng(3)
    size, users = 600, 60
    user = np.arange(size) % users
    log = pl.DataFrame(
        {
            "user": [f"u{n}" for n in user],
            "item": [f"i{n}" for n in random.integers(0, ITEMS, size)],
            "time": START + 3600 * np.arange(size),
            "action": random.choice(["view", "buy"], size),
            "device": [None if n % 7 == 0 else f"d{n % 3}" for n in range(size)],
            "discount": [None if n % 5 == 0 else float(n % 11) / 7 for n in range(size)],
            "tags": [[f"t{n % 4}", f"t{n % 6}"] for n in range(size)],
            "due": [START + 7200 * n if n % 4 else None for n in range(size)],
            "vec": [[float(n % 3), 0.1 * n, 1.0] for n in range(size)],
        }
    ).with_columns(pl.from_epoch("due", time_unit="s"))
    towns = pl.DataFrame({"user": [f"u{n}" for n in range(users)], "town": [f"t{n % COLORS}" for n in range(users)]})
    (folder / "features.toml").write_text(
        '[events.vec]\nkind = "vector"\n[events.tags]\nkind = "categories"\n[events.device]\nknown_at_request = true\n'
    )
    data = prepare(log, folder / "data", users=towns, features=folder / "features.toml")
    settings = ["train.epochs=2", "model.width=16", "model.features=all", "model.max_length=20"]
    return data, train(data, "gru", folder / "run", protocol="time", settings=settings, progress=False).folder


def test_stored_and_typed_events_bring_their_features(eventful: tuple[Dataset, Path], store: EventStore) -> None:
    dataset, run = eventful
    assert import_events(store, dataset).refused == {}
    engine = _engine(run, store)
    make, histories = DatasetEvents(dataset), dataset.histories
    answers = []
    for row in (0, 7, 31):
        positions = np.arange(histories.start[row], histories.end[row])
        events = make(positions, np.full(len(positions), row))
        typed = tuple(HistoryItem(e.item, e.time, e.action, e.value, e.group, e.features) for e in events)
        context = {"town": dataset.users["town"][row], "device": "d1"}
        asked = [Request(user=events[0].user, context=context), Request(history=typed, context=context)]
        bare = tuple(replace(one, features={}) for one in typed)
        stored, given, without = engine.recommend([*asked, Request(history=bare, context=context)])
        assert [(one.item, one.score) for one in given.items] == [(one.item, one.score) for one in stored.items]
        assert [one.score for one in without.items] != [one.score for one in stored.items]
        answers.append(stored)
    assert [answer.unknown_values for answer in answers] == [0, 0, 0]
    odd = (HistoryItem("i1", features={"device": "fridge", "tags": ["t1", "never"], "due": "soon", "vec": [1.0]}),)
    (answer,) = engine.recommend([Request(history=odd, context={"device": "fridge"})])
    assert answer.unknown_values == 3


def test_a_replay_of_features_agrees(eventful: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, run = eventful
    with Server(tmp_path, run) as server, Client(server.url) as client:
        done = replay(run, dataset.path, client)
        assert done.agrees, done.differences
        assert done.requests == done.same == done.histories_same > 30
        sent = client.add_event("new", "i1", features={"device": "fridge", "due": "2026-11-25T18:04:00Z"})
        assert sent.status == "stored"
        assert client.history("new")[0]["features"] == {"device": "fridge", "due": "2026-11-25T18:04:00Z"}
        counted = "onward_unknown_values_total"
        with server.client() as http:
            before = metric(http.get("/metrics").text, counted)
            client.recommend("new")
            assert metric(http.get("/metrics").text, counted) == before + 1
            refused = http.post("/v1/events", json={"user": "x", "item": "i1", "features": {"a": "x" * 70_000}})
            assert refused.json()["results"][0]["status"] == "rejected"


def metric(text: str, name: str) -> float:
    """A metric without labels."""
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))
