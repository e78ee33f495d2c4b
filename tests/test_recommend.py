"""Recommendations: known and unknown users, typed histories, everyone; every request gets an answer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import onward
from onward.bundle import load_bundle
from onward.data.dataset import open_dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError, FormatError
from onward.recommend import Recommendations, recommend, recommend_all
from onward.train.run import train

EVENTS = pl.DataFrame(
    {
        "user": ["ann"] * 4 + ["bob"] * 4 + ["cy"] * 4 + ["dan"] * 3 + ["eve"],
        "item": ["1", "2", "3", "4", "1", "2", "3", "5", "2", "3", "4", "6", "1", "3", "2", "7"],
        "time": [*range(100, 115), 10_000],
    }
)
ITEMS = pl.DataFrame(
    {
        "item": [str(number) for number in range(1, 8)],
        "title": ["One", "Two, The", "Three", "Four", "Five", "Six", "Seven"],
        "genre": ["a", "a b", "b", "a", "b", "a", "a"],
    }
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommend")
    ITEMS.write_csv(folder / "items.csv")
    prepare(EVENTS, folder / "dataset", items=folder / "items.csv")
    return folder / "dataset"


@pytest.fixture(scope="module")
def run(dataset: Path) -> Path:
    train(dataset, "item-knn", dataset.parent / "run", protocol="last", progress=False)
    return dataset.parent / "run"


def titles(found: Recommendations) -> list[str]:
    return [one.title for one in found.items]


def test_a_typed_history_gets_what_goes_with_it(run: Path) -> None:
    found = recommend(run, "One, Two, The", k=3)
    assert found.history == ["One", "Two, The"]
    assert titles(found)[0] == "Three"
    assert [one.rank for one in found.items] == list(range(1, len(found.items) + 1))
    assert found.items[0].item == "3"
    assert not found.fallback
    scores = [one.score for one in found.items]
    assert scores == sorted(scores, reverse=True)
    assert "  1  Three  [3]" in str(found)


def test_a_list_and_a_loaded_bundle_give_the_same(run: Path) -> None:
    assert recommend(load_bundle(run), ["One", 2]).items == recommend(run, "1, 2").items
    assert onward.recommend(run, history=["One", "Two, The"]).items == recommend(run, "1, 2").items


def test_a_user_is_answered_from_the_whole_history(run: Path, dataset: Path) -> None:
    found = recommend(run, user="ann")
    assert found.history == ["One", "Two, The", "Three", "Four"]
    assert found.items == recommend(run, ["1", "2", "3", "4"]).items
    assert found.items == recommend(run, user="ann", dataset=dataset).items
    assert found.items == recommend(run, user="ann", dataset=open_dataset(dataset)).items


def test_an_unknown_user_gets_popular_items_and_a_note(run: Path) -> None:
    found = recommend(run, user="zoe", k=2)
    assert found.fallback
    assert found.items == recommend(run, [], k=2).items
    assert found.history == []
    assert found.notes[0].startswith("user 'zoe' is not in the dataset")
    assert "most popular" in found.notes[1]


@pytest.mark.parametrize("history", ["", " , ", "nobody knows, this", []])
def test_an_empty_or_unknown_history_gets_popular_items(run: Path, history: str | list[str]) -> None:
    found = recommend(run, history, k=2)
    counts = load_bundle(run).model.items.train_counts[1:]
    assert counts[[int(one.item) - 1 for one in found.items]].tolist() == sorted(counts.tolist())[-1:-3:-1]
    assert found.fallback
    assert any("most popular" in note for note in found.notes)


def test_an_item_that_training_never_saw_is_noted(run: Path) -> None:
    # 5 and 6 are test targets only under protocol last
    found = recommend(run, "Six, One")
    assert found.history == ["Six", "One"]
    assert any(note == "not seen in training, so the model knows nothing of it: Six" for note in found.notes)
    assert not found.fallback
    assert found.items == recommend(run, "Six, One").items


def test_exclude_and_only(run: Path) -> None:
    everything = {one.item for one in recommend(run, "1", k=7).items}
    without = {one.item for one in recommend(run, "1", k=7, exclude="Two, The, 3").items}
    assert everything - without == {"2", "3"}
    assert {one.item for one in recommend(run, "1", k=7, only=["genre=b"]).items} == {"2", "3"}
    found = recommend(run, "1", k=7, exclude=["nothing"])
    assert {one.item for one in found.items} == everything
    assert found.notes[0] == "'nothing' is not in the catalog, so it is ignored"


def test_seen_items_come_back_only_when_asked(run: Path) -> None:
    assert "1" not in {one.item for one in recommend(run, "1", k=7).items}
    assert "1" in {one.item for one in recommend(run, "1", k=7, seen="include").items}


def test_too_few_items_are_said(run: Path) -> None:
    found = recommend(run, "1, 2, 3", k=10, only=["genre=b"])
    assert found.items == []
    assert found.notes[-1] == "only 0 items can be recommended here, not 10"


def test_what_cannot_be_asked(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of them"):
        recommend(run)
    with pytest.raises(ConfigError, match="one of them"):
        recommend(run, "1", user="ann")
    with pytest.raises(ConfigError, match="k = 0"):
        recommend(run, "1", k=0)
    with pytest.raises(ConfigError, match="did you mean 'genre'"):
        recommend(run, "1", only=["gnre=a"])
    with pytest.raises(FormatError, match="not a dataset"):
        recommend(run, user="ann", dataset=tmp_path)
    with pytest.raises(FormatError, match="neither a run nor a bundle"):
        recommend(tmp_path, "1")


def test_everyone_gets_what_each_would_get_alone(run: Path) -> None:
    frame, notes = recommend_all(run, k=2)
    assert frame.columns == ["user", "rank", "item", "score", "title"]
    assert frame["score"].dtype == pl.Float32
    for user in ("ann", "bob", "cy", "dan"):
        alone = recommend(run, user=user, k=2)
        rows = frame.filter(pl.col("user") == user)
        assert rows["item"].to_list() == [one.item for one in alone.items]
        assert rows["title"].to_list() == titles(alone)
        assert rows["rank"].to_list() == [one.rank for one in alone.items]
        np.testing.assert_allclose(rows["score"].to_numpy(), [one.score for one in alone.items], rtol=1e-5)
    assert notes == []


def test_progress_is_told_in_chunks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = recommend_all(run, k=2)
    monkeypatch.setattr(sys.modules["onward.recommend"], "CHUNK_USERS", 2)  # onward.recommend is the function
    told: list[tuple[int, int]] = []
    frame, _ = recommend_all(run, k=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert frame.equals(whole)


def test_another_dataset_is_matched_by_id(run: Path, tmp_path: Path) -> None:
    # other indices, an item that the model never heard of, and a user of nothing else
    events = pl.DataFrame({"user": ["u", "u", "u", "v"], "item": ["0", "2", "1", "0"], "time": [1, 2, 3, 4]})
    prepare(events, tmp_path / "other")
    found = recommend(run, user="u", dataset=tmp_path / "other", k=2)
    assert found.history == ["Two, The", "One"]
    assert found.items == recommend(run, "2, 1", k=2).items
    frame, notes = recommend_all(run, tmp_path / "other", k=2)
    assert frame.filter(pl.col("user") == "u")["item"].to_list() == [one.item for one in found.items]
    assert frame.filter(pl.col("user") == "v").height == 2
    assert notes == ["users who get popular items, having nothing that was seen in training: 1"]
