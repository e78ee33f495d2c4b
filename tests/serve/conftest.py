"""Small models and running servers that the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from server_helpers import Server

if TYPE_CHECKING:
    from onward.bundle import Bundle
    from onward.data.dataset import Dataset
    from onward.serve.store.protocol import EventStore


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles `first` and `second`: after item n comes item n + 1, they learned from many users."""
    from onward.bundle import export
    from onward.data.prepare import prepare
    from onward.data.synthetic import chain_events
    from onward.train.run import train

    folder = tmp_path_factory.mktemp("models")
    prepare(chain_events(users=200, items=30, length=12, noise=0.1), folder / "dataset")
    for name, model in (("first", "markov"), ("second", "item-knn")):
        train(folder / "dataset", model, folder / "runs" / name, protocol="last", progress=False)
        export(folder / "runs" / name, folder / "shelf" / name)
    return folder / "shelf"


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker without keys, which tests share: each uses users and items of its own."""
    with Server(tmp_path_factory.mktemp("server"), models / "first", "--models", str(models)) as running:
        yield running


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The events and items of a small shop."""
    from engine_helpers import shop

    return shop(tmp_path_factory.mktemp("shop") / "dataset")


@pytest.fixture(scope="session")
def bundle(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small model of it."""
    from engine_helpers import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "model", data, width=8, max_length=10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """An empty store."""
    from onward.serve.store.protocol import open_store

    opened = open_store(tmp_path / "events.db")
    yield opened
    opened.close()
