"""The index over a large catalog: what it finds has exact scores, in exact order, and rules hold."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from engine_helpers import make_engine

from onward.bundle import Bundle, load_bundle, write_bundle
from onward.config import RunConfig
from onward.data.prepare import prepare
from onward.errors import MissingExtraError
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.serve.lists import index_folder, retrieval
from onward.serve.lists.engine import Answer, Engine, HistoryItem, Request, Rules
from onward.serve.models.folder import ModelShelf, load_model
from onward.serve.settings import RetrievalConfig, ServeConfig
from onward.serve.store.protocol import EventStore, open_store

pytest.importorskip("faiss", reason="the extra ann is not installed")

ITEMS = 3_000
LARGE = ServeConfig(retrieval=RetrievalConfig(exact_items=1_000))
K = 10


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A GRU over items whose vectors lie in 30 clusters, as learned ones do."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    items = np.concatenate([np.arange(ITEMS), rng.integers(0, ITEMS, 3_000)])
    events = pl.DataFrame({"user": np.arange(len(items)) % 200, "item": items, "time": np.arange(len(items))})
    table = pl.DataFrame({"item": np.arange(ITEMS), "half": np.arange(ITEMS) % 2, "rare": np.arange(ITEMS) % 500})
    data = prepare(events, folder / "dataset", items=table)
    torch.manual_seed(0)
    model = build(
        model_class("gru"), {"width": 16, "max_length": 20}, make_items(data.histories, data.catalog.tie_rank)
    )
    centres = torch.randn(30, 16)
    with torch.no_grad():
        weight = model.input.weight  # type: ignore[attr-defined]
        weight.copy_(centres[torch.arange(ITEMS + 1) % 30] + 0.3 * torch.randn(ITEMS + 1, 16))
        model.output_bias.normal_(std=0.1)  # type: ignore[attr-defined]
    config = RunConfig(dataset=data.manifest.hash, model={"name": "gru", **model.config.model_dump()})
    return load_bundle(write_bundle(folder / "model", model, data.catalog, config, data.manifest, {}))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    opened = open_store(tmp_path_factory.mktemp("store") / "events.db")
    yield opened
    opened.close()


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is used although a catalog of these tests is scored faster."""
    monkeypatch.setattr(retrieval.IndexFacts, "worth", True)


@pytest.fixture(scope="module")
def indexed(bundle: Bundle, store: EventStore) -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval.IndexFacts, "worth", True)
        return make_engine(bundle, store, LARGE)


@pytest.fixture(scope="module")
def exact(bundle: Bundle, store: EventStore) -> Engine:
    return make_engine(bundle, store)


def requests(n: int, rules: Rules | None = None) -> list[Request]:
    rng = np.random.default_rng(5)
    return [
        Request(history=tuple(HistoryItem(str(item)) for item in rng.integers(0, ITEMS, 8)), k=K, rules=rules)
        for _ in range(n)
    ]


def recall(found: list[Answer], wanted: list[Answer]) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([len({one.item for one in a.items} & {one.item for one in b.items}) / K for a, b in pairs]))


def test_recall_is_measured_when_the_index_is_built(indexed: Engine, exact: Engine) -> None:
    index = indexed.model.index
    assert index is not None
    assert exact.model.index is None
    assert index.facts.items == ITEMS
    assert index.facts.recall >= LARGE.retrieval.recall
    assert 1 <= index.facts.probes < index.facts.cells
    asked = requests(100)
    assert recall(indexed.recommend(asked), exact.recommend(asked)) > 0.9


def test_scores_are_exact_and_so_is_the_order(indexed: Engine, exact: Engine) -> None:
    asked = requests(20)
    whole = exact.recommend([replace(one, k=ITEMS) for one in asked])
    for found, every in zip(indexed.recommend(asked), whole, strict=True):
        scores = {one.item: one.score for one in every.items}
        assert [one.score for one in found.items] == pytest.approx([scores[one.item] for one in found.items], rel=1e-5)
        assert [one.score for one in found.items] == sorted((one.score for one in found.items), reverse=True)
        assert len(found.items) == K


@pytest.mark.parametrize("few", [0, 20_000], ids=["searched", "scored"])
@pytest.mark.parametrize(
    "rules",
    [
        Rules(where="half = 1"),
        Rules(where="rare < 3"),
        Rules(seen="exclude", deny=tuple(str(n) for n in range(0, ITEMS, 3))),
        Rules(allow=tuple(str(n) for n in range(12))),
        Rules(pinned=("7", "8"), boost={"9": 8.0, "11": -50.0}),
        Rules(at_most={"half": 4}),
    ],
    ids=lambda rules: "-".join(rules.model_fields_set),
)
def test_rules_hold(rules: Rules, few: int, indexed: Engine, exact: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "FEW", few)
    asked = requests(15, rules)
    found, wanted = indexed.recommend(asked), exact.recommend(asked)
    passing = {one.item for answer in exact.recommend([replace(a, k=ITEMS) for a in asked]) for one in answer.items}
    for answer, other in zip(found, wanted, strict=True):
        assert len(answer.items) == len(other.items)
        assert {one.item for one in answer.items} <= passing or rules.at_most
        assert not rules.at_most or max(Counter(int(one.item) % 2 for one in answer.items).values()) == 4
        assert [one.pinned for one in answer.items] == [one.pinned for one in other.items]
    assert recall(found, wanted) * K >= 0.8 * np.mean([len(answer.items) for answer in wanted])
    if rules.boost:
        assert all("9" in [one.item for one in answer.items] for answer in found)


def test_every_score_is_computed_where_the_index_finds_too_few(
    indexed: Engine, exact: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "FEW", 0)
    index = indexed.model.index
    assert index is not None
    monkeypatch.setattr(index, "facts", replace(index.facts, probes=1))
    asked = requests(5, Rules(where="rare < 3"))
    assert recall(indexed.recommend(asked), exact.recommend(asked)) == 1.0


def test_without_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"onward\[ann\]"):
        load_model("large", bundle.path, LARGE)


def test_a_catalog_that_is_not_large_has_no_index(bundle: Bundle, tmp_path: Path) -> None:
    assert load_model("large", bundle.path, ServeConfig()).index is None


def test_an_index_is_worth_it_where_it_is_searched_and_faster() -> None:
    facts = retrieval.IndexFacts(50_000, 64, 8, 0.99, exact_ms=0.3, index_ms=0.2, bytes=1, seconds=1.0)
    assert facts.worth
    assert not replace(facts, index_ms=0.4).worth
    assert not replace(facts, items=retrieval.FEW).worth


def test_an_index_that_is_slower_than_every_score_is_not_used(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = retrieval.IndexFacts(ITEMS, 64, 8, 0.99, exact_ms=0.1, index_ms=0.2, bytes=1, seconds=1.0)
    monkeypatch.setattr(index_folder, "build_index", lambda scorer, _: retrieval.ItemIndex(scorer, None, slow))
    assert load_model("large", bundle.path, LARGE, tmp_path).index is None
    assert not list(tmp_path.iterdir()), "and not kept: another time it may be faster"


def test_an_index_is_kept_and_loaded_while_it_fits(
    bundle: Bundle, tmp_path: Path, worth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.stat().st_mtime_ns for file in bundle.path.rglob("*")}
    built = load_model("large", bundle.path, LARGE, tmp_path).index
    assert built is not None
    (place,) = (tmp_path / ".indexes").iterdir()
    assert sorted(file.name for file in place.iterdir()) == ["facts.json", "index.faiss"]
    assert ModelShelf(tmp_path).names() == []
    assert {file: file.stat().st_mtime_ns for file in bundle.path.rglob("*")} == before, "bundles never change"

    builds = []
    build = index_folder.build_index
    monkeypatch.setattr(index_folder, "build_index", lambda *given: builds.append(given) or build(*given))
    kept = load_model("large", bundle.path, LARGE, tmp_path).index
    assert kept is not None
    assert (kept.facts, builds) == (built.facts, [])
    state = torch.randn(16, generator=torch.Generator().manual_seed(0))
    for one, other in zip(kept.nearest(state, K, None), built.nearest(state, K, None), strict=True):
        np.testing.assert_array_equal(one, other)

    lower = ServeConfig(retrieval=RetrievalConfig(exact_items=1_000, recall=0.5))
    load_model("large", bundle.path, lower, tmp_path)
    assert len(builds) == 1, "another recall is wanted"
    with (place / "index.faiss").open("r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2\3")
    load_model("large", bundle.path, lower, tmp_path)
    assert len(builds) == 2, "it is damaged"
    load_model("large", bundle.path, lower)
    assert len(builds) == 3, "there is no folder of models"
