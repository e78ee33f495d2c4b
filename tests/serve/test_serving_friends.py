"""A model that reads links, behind the engine: who friends are, and what they did before the request."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.models.features.attach import histories_for
from onward.serve.lists.engine import Answer, Engine, HistoryItem, Request
from onward.serve.models.folder import ModelShelf, load_model
from onward.serve.settings import ServeConfig
from onward.serve.store.importing import import_events
from onward.serve.store.protocol import Event, EventStore, open_store
from onward.train.run import train

TASTES, ITEMS, USERS, LONELY = 3, 24, 60, 6
"""The first users have no friends; user n likes items of taste n mod 3, as do the friends."""
HOUR = 3_600


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    random = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        items = TASTES * random.permutation(ITEMS // TASTES)[:6] + user % TASTES
        times = np.sort(random.integers(0, 400, 6)) * HOUR
        rows += [
            (f"u{user:02}", f"i{item}", 1_600_000_000 + int(time)) for item, time in zip(items, times, strict=True)
        ]
    pairs = []
    for user in range(LONELY, USERS):
        alike = [other for other in range(USERS) if other != user and (other - user) % TASTES == 0]
        pairs += [(f"u{user:02}", f"u{friend:02}", 1.0 + friend % 2) for friend in random.permutation(alike)[:4]]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    links = pl.DataFrame(pairs, schema=["user", "friend", "weight"], orient="row")
    return prepare(log, tmp_path_factory.mktemp("friends") / "data", links=links)


def _run(dataset: Dataset, folder: Path, *settings: str) -> Path:
    own = ["train.epochs=8", "model.width=16", "train.learning_rate=0.02", 'model.features=["links"]', *settings]
    return train(dataset, "gru", folder, settings=own, progress=False).folder


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(dataset, tmp_path_factory.mktemp("friends") / "run")


@pytest.fixture
def store(tmp_path: Path, dataset: Dataset) -> EventStore:
    store = open_store(str(tmp_path / "store.db"))
    import_events(store, dataset)
    return store


def _engine(run: Path, store: EventStore) -> Engine:
    settings = ServeConfig()
    return Engine(load_model("friends", run / "model", settings), store, settings)


def _listed(answer: Answer) -> tuple[list[str], list[float]]:
    return [one.item for one in answer.items], [one.score for one in answer.items]


@pytest.mark.parametrize("told", ["target", "none"])
def test_the_server_answers_as_evaluation_did_though_its_store_knows_what_came_later(
    dataset: Dataset, tmp_path: Path, store: EventStore, told: str
) -> None:
    run = _run(dataset, tmp_path / "run", f"split.request_time={told}")
    bundle = load_bundle(run)
    histories = histories_for(bundle.model, dataset)
    part = split(histories, bundle.manifest.split).test
    some = np.flatnonzero(part.history_end > part.history_start)
    asked = part.requests(histories).select(some)
    offline = bundle.model.recommend(asked, 4)
    times, users = histories.columns["time"][part.target_start[some]].tolist(), dataset.users["user"]
    requests = [Request(user=users[user], k=4, at=at) for user, at in zip(part.user[some].tolist(), times, strict=True)]
    for row, answer in enumerate(_engine(run, store).recommend(requests)):
        items, scores = _listed(answer)
        assert items == [bundle.catalog.id(item) for item in offline.items[row].tolist()]
        np.testing.assert_allclose(scores, offline.scores[row], rtol=1e-4, atol=1e-5)


def test_a_friend_does_something_and_the_next_list_knows(run: Path, store: EventStore) -> None:
    engine, user = _engine(run, store), f"u{USERS - 1}"
    links = load_bundle(run).links
    assert links is not None
    friends = links.filter(pl.col("user") == user)["friend"].to_list()
    assert len(friends) == 4
    asked = [Request(user=one, k=ITEMS) for one in (user, "u01")]

    def scores() -> list[dict[str, float]]:
        return [dict(zip(*_listed(answer), strict=True)) for answer in engine.recommend(asked)]

    before = scores()
    now = [Event(f"new-{item}", friends[0], f"i{item}") for item in (0, 3, 6, 9, 12)]
    store.append(now)
    after = scores()
    assert after[0] != before[0]
    assert after[1] == pytest.approx(before[1], abs=1e-4)  # who has no friends; the time of the request alone differs


def test_a_visitor_brings_friends_along(run: Path, store: EventStore) -> None:
    engine = _engine(run, store)
    for taste in range(TASTES):
        friends = [f"u{number:02}" for number in range(LONELY, USERS) if number % TASTES == taste]
        request = Request(history=(HistoryItem("i0"),), k=3, context={"links": [*friends, "nobody", 7]})
        first = int(engine.recommend([request])[0].items[0].item[1:])
        alone = engine.recommend([Request(history=(HistoryItem("i0"),), k=3, context={"links": "u07"})])[0]
        assert first % TASTES == taste
        assert _listed(alone) == _listed(engine.recommend([Request(history=(HistoryItem("i0"),), k=3)])[0])


def test_reasons_leave_out_own_events_and_keep_friends(run: Path, store: EventStore) -> None:
    answer = _engine(run, store).recommend([Request(user="u10", k=3, reasons=True)])[0]
    own = answer.items[0].reasons
    assert own
    assert all(np.isfinite(reason.effect) for reason in own)


def test_forgetting_names_the_model_that_knows_who_is_a_friend_of_whom(
    dataset: Dataset, run: Path, tmp_path: Path, store: EventStore
) -> None:
    plain = train(dataset, "gru", tmp_path / "plain", settings=["train.epochs=1"], progress=False).folder
    receipt = store.forget("u10", [run / "model", plain / "model"])
    assert receipt.bundles == (str(run / "model"),)


def test_an_upload_brings_features_and_links(run: Path, tmp_path: Path, store: EventStore) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(run / "model", arcname="model")
    shelf = ModelShelf(tmp_path / "models")
    name = shelf.receive(packed)
    assert {file.name for file in (shelf.folder / name).iterdir()} >= {"features.json", "links.parquet"}
    settings = ServeConfig()
    uploaded = Engine(load_model(name, shelf.path(name), settings), store, settings)
    asked = [Request(user="u10", k=3, at=2 * 10**15)]
    assert _listed(uploaded.recommend(asked)[0]) == _listed(_engine(run, store).recommend(asked)[0])
