"""The bundle folder: what is written, what is refused, how metrics travel."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from onward.bundle import add_metrics, export, load_bundle, read_manifest, write_bundle
from onward.config import RunConfig
from onward.data.catalog import Catalog
from onward.data.dataset import Manifest, sha256
from onward.data.sequences import Histories
from onward.errors import FormatError, OutputError
from onward.manifest import Measurement
from onward.models.base import make_items
from onward.models.popularity import Popularity, PopularityConfig

NAMES = ["plain", "comma, inside", 'quote"d', "emoji 🎬"]
CATALOG = Catalog(pl.DataFrame({"item": NAMES, "genre": [["a"], ["a", "b"], None, ["b"]]}))
DATASET = Manifest(
    hash="ab" * 32,
    users=2,
    items=4,
    events=6,
    rejected=0,
    sources=["log.csv"],
    roles={"user": "user", "item": "item"},
    columns=["item"],
    repeat_share=0.0,
    seen="exclude",
    duplicates="keep",
    duplicate_rows=0,
    files={},
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a popularity model in it."""
    training = Histories.from_lists([[1, 2, 2], [2, 3, 3]], 4)
    model = Popularity(PopularityConfig(), make_items(training, CATALOG.tie_rank))
    model.fit(training)
    folder = tmp_path / "run"
    config = RunConfig(seed=7, dataset=DATASET.hash, model={"name": "popularity"})
    write_bundle(folder / "model", model, CATALOG, config, DATASET, {"seconds": 0.25, "parameters": 5})
    return folder


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def read_json(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "model" / "manifest.json").read_text())
    return found


def edit_manifest(run: Path, **changes: object) -> None:
    (run / "model" / "manifest.json").write_text(json.dumps({**read_json(run), **changes}))


def test_what_was_written_is_read_back(run: Path) -> None:
    bundle = load_bundle(run)
    assert bundle.path == run / "model"
    assert bundle.catalog.frame.equals(CATALOG.frame)
    assert bundle.config.seed == 7
    assert bundle.model.items.train_counts.tolist() == [0, 1, 3, 2, 0]
    assert np.array_equal(bundle.model.items.tie_rank, CATALOG.tie_rank)
    assert bundle.model.recommend(Histories.from_lists([[1]], 4), k=3).items.tolist() == [[2, 3, 0]]
    manifest = bundle.manifest
    assert (manifest.model, manifest.dataset, manifest.items, manifest.seen) == ("popularity", "ab" * 32, 4, "exclude")
    assert manifest.training == {"seconds": 0.25, "parameters": 5}
    assert (manifest.data.events, manifest.data.training_events) == (6, 6)
    assert not manifest.holds_user_rows
    assert "torch" in manifest.packages


def test_every_file_is_listed_with_its_hash_and_none_is_code(run: Path) -> None:
    folder = run / "model"
    files = {file.name for file in folder.iterdir()}
    assert files == {"manifest.json", "config.toml", "weights.safetensors", "items.parquet", "README.md"}
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert listed == {name: sha256(folder / name) for name in files - {"manifest.json"}}


@pytest.mark.parametrize("name", ["config.toml", "weights.safetensors", "items.parquet", "README.md"])
def test_a_flipped_byte_is_named(run: Path, name: str) -> None:
    damage(run / "model" / name)
    with pytest.raises(FormatError, match=f"damaged: {name} does not match"):
        load_bundle(run)


@pytest.mark.parametrize("name", ["config.toml", "weights.safetensors", "items.parquet"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / "model" / name).unlink()
    with pytest.raises(FormatError, match=f"incomplete: {name} is missing"):
        load_bundle(run)


def test_a_file_without_a_hash_is_refused(run: Path) -> None:
    edit_manifest(run, files={})
    with pytest.raises(FormatError, match=r"lists no hash for README\.md"):
        load_bundle(run)


def test_a_newer_format_asks_to_upgrade(run: Path) -> None:
    edit_manifest(run, format="onward.bundle/2")
    with pytest.raises(FormatError, match=r"newer than onward\.bundle/1") as caught:
        load_bundle(run)
    assert "upgrade" in caught.value.hint


def test_another_format_is_refused(run: Path) -> None:
    edit_manifest(run, format="elsewhere/1")
    with pytest.raises(FormatError, match="'elsewhere/1'"):
        load_bundle(run)


def test_a_field_added_within_the_version_is_passed_over(run: Path) -> None:
    edit_manifest(run, added_later=1)
    assert load_bundle(run).manifest.model == "popularity"


def test_an_unknown_model_is_named_with_the_nearest(run: Path) -> None:
    edit_manifest(run, model="popularty")
    with pytest.raises(FormatError, match="did you mean 'popularity'"):
        load_bundle(run)


def test_weights_of_another_model_are_refused(run: Path) -> None:
    edit_manifest(run, model="item-knn")
    with pytest.raises(FormatError, match="can't be loaded as model 'item-knn'"):
        load_bundle(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"format": "onward.bundle/1"}', "damaged"),
    ],
    ids=["cut off", "too deep", "a list", "nothing in it"],
)
def test_an_unreadable_manifest_is_named(run: Path, text: str, message: str) -> None:
    (run / "model" / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        load_bundle(run)


def without_data(parquet: bytes) -> bytes:
    """A Parquet file whose metadata points to data beyond its end."""
    size = int.from_bytes(parquet[-8:-4], "little")
    return parquet[:4] + parquet[-8 - size :]


def with_ids(ids: pl.Series) -> Callable[[bytes], bytes]:
    def change(parquet: bytes) -> bytes:
        out = io.BytesIO()
        pl.read_parquet(io.BytesIO(parquet)).with_columns(item=ids).write_parquet(out)
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.toml", lambda _: b"a = " + b"[" * 100_000, ""),
        ("config.toml", lambda _: b'a = "\xff"', "not UTF-8"),
        ("items.parquet", lambda parquet: parquet[:50], ""),
        ("items.parquet", without_data, ""),
        ("items.parquet", with_ids(pl.Series([1, 2, 3, 4])), "an id of its own"),
        ("items.parquet", with_ids(pl.Series(["a", "b", "b", "c"])), "an id of its own"),
        ("items.parquet", with_ids(pl.Series(["a", "b", None, "c"])), "an id of its own"),
        ("weights.safetensors", lambda weights: weights[:-1], "SafetensorError"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_though_its_hash_is_right(
    run: Path, name: str, change: Callable[[bytes], bytes], said: str
) -> None:
    file = run / "model" / name
    file.write_bytes(change(file.read_bytes()))
    edit_manifest(run, files={**read_json(run)["files"], name: sha256(file)})
    with pytest.raises(FormatError, match="can't be loaded as model 'popularity'") as refused:
        load_bundle(run)
    assert said in refused.value.message


def test_no_bundle_and_an_unfinished_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="neither a run nor a bundle"):
        load_bundle(tmp_path)
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(FormatError, match="no trained model yet"):
        load_bundle(tmp_path)


def test_an_existing_folder_is_kept(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        export(run, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert export(run, tmp_path / "out", overwrite=True) == tmp_path / "out"


def test_nothing_is_left_when_writing_fails(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no card today")

    monkeypatch.setattr("onward.bundle.model_card", broken)
    with pytest.raises(RuntimeError, match="no card today"):
        export(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def measured(value: float, part: str = "test", **protocol: object) -> Measurement:
    low_high = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return Measurement(part=part, protocol={"split": "last", **protocol}, values={"ndcg@10": low_high})


def test_metrics_are_added_and_the_same_protocol_is_replaced(run: Path) -> None:
    add_metrics(run, [measured(0.1)])
    add_metrics(run, [measured(0.2), measured(0.3, seen="include"), measured(0.4, part="valid")])
    found = load_bundle(run).manifest.metrics
    assert [entry.values["ndcg@10"]["value"] for entry in found] == [0.2, 0.3, 0.4]
    card = (run / "model" / "README.md").read_text()
    assert "| ndcg@10 | 0.2 | 0.1900 to 0.2100 |" in card
    assert "split: last; seen: include" in card


def test_export_carries_the_runs_evaluations(run: Path, tmp_path: Path) -> None:
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True)
    values = {"format": "onward.evaluation/1", "protocol": {"split": "time"}, "metrics": {"hr@10": {"value": 0.5}}}
    (folder / "metrics.json").write_text(json.dumps(values))
    out = export(run, tmp_path / "out")
    assert read_manifest(out).metrics == [
        Measurement(part="test", protocol={"split": "time"}, values={"hr@10": {"value": 0.5}})
    ]
    assert load_bundle(out).model.name == "popularity"
    assert read_manifest(run / "model").metrics == []


def test_a_bundle_carries_what_a_report_of_the_evaluation_needs(run: Path, tmp_path: Path) -> None:
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True)
    bucket = {"label": "1-4", "requests": 3, "users": 2, "metrics": {"hr@10": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    kept = {"users": 2, "requests": 3, "lists": {"gini@10": 0.9}, "counts": {"targets": 3}}
    values = {
        "protocol": {"split": "time"},
        "metrics": {"hr@10": {"value": 0.5}},
        "user_metrics": {"hr@10": {"value": 1}},
    }
    (folder / "metrics.json").write_text(json.dumps({**values, **kept, "slices": {"history_length": [bucket]}}))
    (entry,) = load_bundle(export(run, tmp_path / "out")).manifest.metrics
    assert {name: getattr(entry, name) for name in kept} == kept
    assert entry.user_values == values["user_metrics"]
    assert [one.model_dump() for one in entry.slices["history_length"]] == [bucket]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"protocol": 1, "metrics": {}}'])
def test_a_damaged_evaluation_is_named(run: Path, tmp_path: Path, text: str) -> None:
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(text)
    with pytest.raises(FormatError, match=r"metrics\.json is damaged"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_card_says_what_matters(run: Path) -> None:
    card = (run / "model" / "README.md").read_text()
    for fact in ("popularity", "ab" * 32, "log.csv", "onward evaluate", "no rows of users", "onward recommend", "0.25"):
        assert fact in card
