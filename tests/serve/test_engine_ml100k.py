"""MovieLens-100K: the engine, over a real store, gives the lists of offline evaluation, request by request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_helpers import make_engine

from onward.bundle import load_bundle, write_bundle
from onward.config import RunConfig, SplitConfig
from onward.data.dataset import Dataset
from onward.data.split import split
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.serve.lists.engine import Request
from onward.serve.settings import FallbackConfig, ServeConfig
from onward.serve.store.protocol import Event, EventStore, open_store

BATCH = 32
K = 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    opened = open_store(tmp_path / "events.db")
    yield opened
    opened.close()


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "protocol"), [("sasrec", "time"), ("hstu", "time"), ("item-knn", "time"), ("sasrec", "last")]
)
def test_every_request_of_the_test_part(
    name: str, protocol: str, ml100k_dataset: Dataset, store: EventStore, tmp_path: Path
) -> None:
    data = ml100k_dataset
    histories, ids, users = data.histories, data.catalog.ids, data.users["user"].to_list()
    assert histories.time is not None
    divided = split(histories, SplitConfig(protocol=protocol))  # type: ignore[arg-type]
    torch.manual_seed(0)
    cls = model_class(name)
    settings = {"width": 16, "max_length": 50} if cls.traits.trainable else {}
    model = build(cls, settings, make_items(divided.training(histories), data.catalog.tie_rank))
    if not cls.traits.trainable:
        model.fit(divided.training(histories))
    config = RunConfig(
        dataset=data.manifest.hash, split=divided.config, model={"name": name, **model.config.model_dump()}
    )
    write_bundle(tmp_path / "model", model, data.catalog, config, data.manifest, {})
    bundle = load_bundle(tmp_path / "model")
    last = set(divided.test.target_start.tolist()) if protocol == "last" else set()  # what the test asks for is to come
    for user in range(len(histories)):
        places = [p for p in range(int(histories.start[user]), int(histories.end[user])) if p not in last]
        store.append([Event(str(p), users[user], ids[histories.item[p] - 1], int(histories.time[p])) for p in places])
    engine = make_engine(bundle, store, ServeConfig(fallback=FallbackConfig(recent_days=0)))
    wanted = bundle.model.recommend(divided.test.requests(histories), K, seen=bundle.manifest.seen)
    told = protocol == "time"
    requests = [
        Request(users[user], k=K, at=int(histories.time[target]) if told else None)
        for user, target in zip(divided.test.user.tolist(), divided.test.target_start.tolist(), strict=True)
    ]
    near_ties = 0
    for first in range(0, len(requests), BATCH):
        for row, answer in enumerate(engine.recommend(requests[first : first + BATCH]), first):
            scores = [one.score for one in answer.items]
            np.testing.assert_allclose(scores, wanted.scores[row], rtol=1e-5, atol=1e-6)
            found = [one.item for one in answer.items]
            near_ties += found != [bundle.catalog.id(index) for index in wanted.items[row].tolist()]
    assert near_ties <= len(requests) // 100
    print(f"{name}, {protocol}: {len(requests):,} requests, {near_ties} lists differ, inside near-ties")
