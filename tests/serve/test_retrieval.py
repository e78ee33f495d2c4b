"""The index over a large catalog: what it finds has exact scores, in exact order, and rules hold."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from onward.models.sequence import SequenceModel
from onward.serve.lists import index_folder, retrieval
from onward.serve.lists.engine import Answer, Engine, HistoryItem, Request, Rules
from onward.serve.models.folder import ModelShelf, load_model
from onward.serve.settings import RetrievalConfig, ServeConfig
from onward.serve.store.protocol import EventStore, ItemRecord, open_store
from onward.train.run import train

pytest.importorskip("faiss", reason="the extra ann is not installed")

ITEMS = 3_000
LARGE = ServeConfig(retrieval=RetrievalConfig(exact_items=1_000))
K, COLORS = 10, 8


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


def build_here(folder: Path, bundle: Path, made_from: dict[str, Any]) -> retrieval.IndexFacts:
    """Build an index in this process: starting another one takes most of the time of a small index."""
    index_folder._build(folder, bundle, made_from)
    return retrieval.IndexFacts(**json.loads((folder / index_folder.FACTS).read_text(encoding="utf-8"))["facts"])


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is used although a catalog of these tests is scored faster."""
    monkeypatch.setattr(retrieval.IndexFacts, "worth", lambda facts, recall: True)


@pytest.fixture(scope="module")
def indexed(bundle: Bundle, store: EventStore) -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval.IndexFacts, "worth", lambda facts, recall: True)
        patch.setattr(index_folder, "_build_in", build_here)
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
    ids=lambda rules: "-".join(sorted(rules.model_fields_set)),
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
    facts = retrieval.IndexFacts(50_000, 64, 8, 50_000, 0.97, exact_ms=0.3, index_ms=0.2, bytes=1, seconds=1.0)
    assert facts.worth(0.97)
    assert not facts.worth(0.98)
    assert not replace(facts, index_ms=0.4).worth(0.97)
    assert not replace(facts, items=retrieval.FEW).worth(0.97)


def test_an_index_that_is_not_worth_it_is_neither_read_nor_kept(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process builds, so that this one never holds it: ITEMS are few, whatever is measured."""
    here: list[object] = []
    monkeypatch.setattr(index_folder, "build_index", lambda *given: here.append(given))
    monkeypatch.setattr(retrieval.ItemIndex, "__init__", lambda *given: here.append(given))
    assert load_model("large", bundle.path, LARGE, tmp_path).index is None
    assert here == []
    assert not list(tmp_path.iterdir()), "another time it may be faster"


def test_an_index_that_can_not_be_built_is_done_without(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert load_model("large", bundle.path, LARGE, tmp_path).index is None
    assert "index not built" in capfd.readouterr().out
    assert not list(tmp_path.iterdir())


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
    monkeypatch.setattr(index_folder, "_build_in", lambda *given: builds.append(given) or build_here(*given))
    kept = load_model("large", bundle.path, LARGE, tmp_path).index
    assert kept is not None
    assert (kept.facts, builds) == (built.facts, [])
    state = torch.randn(16, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(kept.shortlist(state, K), built.shortlist(state, K))

    lower = ServeConfig(retrieval=RetrievalConfig(exact_items=1_000, recall=0.5))
    load_model("large", bundle.path, lower, tmp_path)
    assert len(builds) == 1, "another recall is wanted"
    load_model("large", bundle.path, lower, tmp_path)
    assert len(builds) == 1, "and now it is kept"
    with (place / "index.faiss").open("r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2\3")
    load_model("large", bundle.path, lower, tmp_path)
    assert len(builds) == 2, "it is damaged"
    load_model("large", bundle.path, lower)
    assert len(builds) == 3, "there is no folder of models"


@pytest.fixture(scope="module")
def featured(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A GRU whose item vectors are mostly what their color says, and for new ones that they are new."""
    folder, rng = tmp_path_factory.mktemp("featured"), np.random.default_rng(0)
    items = np.concatenate([np.arange(ITEMS), rng.integers(0, ITEMS, 3_000)])
    events = pl.DataFrame({"user": np.arange(len(items)) % 200, "item": items, "time": np.arange(len(items))})
    table = pl.DataFrame({"item": np.arange(ITEMS), "color": [f"c{n % COLORS}" for n in range(ITEMS)]})
    data = prepare(events, folder / "dataset", items=table)
    settings = ["train.epochs=1", "model.width=16", "model.features=all"]
    run = train(data, "gru", folder / "run", protocol="last", settings=settings, progress=False).folder
    bundle = load_bundle(run / "model")
    model = bundle.model
    assert isinstance(model, SequenceModel)
    assert model.features is not None
    assert model.features.items is not None
    model.features.hold_items(data.catalog.frame)
    torch.manual_seed(0)
    with torch.no_grad():
        model.features.items.embedding.normal_(std=1.0)
        model.input.weight.normal_(std=0.1)
        model.input.weight[0].normal_(std=1.0)
        model.load_state_dict(model.state_dict())
    config = RunConfig(dataset=data.manifest.hash, model={"name": "gru", **model.config.model_dump()})
    return load_bundle(write_bundle(folder / "model", model, data.catalog, config, data.manifest, {}))


def test_items_added_or_changed_at_run_time_are_scored_beside_what_is_found(
    featured: Bundle, tmp_path: Path, worth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "FEW", 0)
    monkeypatch.setattr(index_folder, "_build_in", build_here)
    with closing(open_store(tmp_path / "events.db")) as store:
        indexed, exact = make_engine(featured, store, LARGE), make_engine(featured, store)
        assert indexed.model.index is not None
        asked = requests(20, Rules(seen="include"))
        before = exact.recommend([replace(one, k=1) for one in asked])
        color = dict(featured.catalog.frame.select("item", "color").iter_rows())
        liked = color[before[0].items[0].item]
        added = [f"new-{n}" for n in range(5)]
        changed = [str(n) for n in range(ITEMS) if color[str(n)] != liked][:200]
        store.put_items([ItemRecord(item, {"color": liked}) for item in [*added, *changed]])

        def listed(asked: list[Request]) -> tuple[list[Answer], set[str]]:
            """What the index gives, checked against every score, and what of it came at run time."""
            found, fresh = indexed.recommend(asked), {*added, *changed}
            whole = exact.recommend([replace(one, k=ITEMS) for one in asked])
            for answer, every in zip(found, whole, strict=True):
                scores = {one.item: one.score for one in every.items}
                given = [one.item for one in answer.items]
                assert [one.score for one in answer.items] == pytest.approx([scores[item] for item in given], rel=1e-4)
                better = [item for item, score in scores.items() if score > 1e-4 + answer.items[-1].score]
                assert {*better} & fresh <= {*given}
            assert recall(found, exact.recommend(asked)) > 0.8
            return found, fresh & {one.item for answer in found for one in answer.items}

        _, fresh = listed(asked)
        assert fresh & {*added}
        assert fresh & {*changed}
        _, fresh = listed(requests(20, Rules(seen="include", deny=(*added[1:], *changed[1:]))))
        assert fresh <= {added[0], changed[0]}
        store.delete_items([*added, *changed])
        gone = {*added, *changed} & {one.item for answer in indexed.recommend(asked) for one in answer.items}
        assert not gone
