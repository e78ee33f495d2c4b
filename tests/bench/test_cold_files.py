"""The readers of bench/cold_files.py, on files of a few lines: what they hold back from training."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cold_files
from cold_files import TEST, VALIDATION, Log, amazon_beauty, amazon_office_text, ml_100k
from cold_report import write_report

ITEMS = [str(number) for number in range(1, 41)]


def of_user(log: Log, user: str) -> list[tuple[str, int]]:
    rows = log.events.filter(pl.col("user") == user)
    return list(zip(rows["item"], rows["timestamp"], strict=True))


@pytest.fixture
def beauty(tmp_path: Path) -> Path:
    lines = [f"u{first} " + " ".join(ITEMS[first : first + 20]) for first in range(20)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines) + "\n")
    attributes = {item: [1, 2] if int(item) % 2 else [2, 3] for item in ITEMS}
    (tmp_path / "item2attributes.json").write_text(json.dumps(attributes))
    (tmp_path / "attribute_names.csv").write_text("attribute,name\n1,Makeup\n2,Face\n3,\n")
    return tmp_path


def test_a_tenth_of_beauty_is_in_no_history_and_no_validation(beauty: Path) -> None:
    log = amazon_beauty(beauty, seed=3)
    assert len(log.cold) == 4
    known = log.events.filter(pl.col("timestamp") < TEST)
    assert not set(known["item"]) & log.cold
    full = [(item, place) for place, item in enumerate(ITEMS[5:23])] + [(ITEMS[23], VALIDATION), (ITEMS[24], TEST)]
    # the test stays whatever it asks for
    assert of_user(log, "u5") == [(item, time) for item, time in full if time == TEST or item not in log.cold]
    assert amazon_beauty(beauty, seed=3).cold == log.cold
    assert amazon_beauty(beauty, seed=4).cold != log.cold
    words = {row["item_id"]: row for row in log.items.to_dicts()}
    assert words["1"] == {"item_id": "1", "words": ["Makeup", "Face"], "text": "Makeup, Face"}
    assert words["2"]["words"] == ["Face"]  # an attribute without a name


def test_the_inner_question_takes_a_fifth_of_the_trained_items_out_of_training_alone(beauty: Path) -> None:
    log = amazon_beauty(beauty, seed=0)
    inner = log.inner(seed=0)
    training = log.events.filter(pl.col("timestamp") < VALIDATION)
    assert not inner.cold & log.cold
    assert inner.cold < set(training["item"])
    assert len(inner.cold) == training["item"].n_unique() // 5
    gone = training.filter(pl.col("item").is_in(inner.cold))
    assert gone.height > 0
    assert inner.events.equals(
        log.events.join(gone, on=["user", "item", "timestamp"], how="anti", maintain_order="left")
    )
    assert inner.cuts == log.cuts


def test_shuffled_items_have_the_features_of_others(beauty: Path) -> None:
    log = amazon_beauty(beauty, seed=0)
    shuffled = log.shuffled(1)
    assert shuffled.items["item_id"].equals(log.items["item_id"])
    assert not shuffled.items["text"].equals(log.items["text"])
    assert sorted(shuffled.items["text"]) == sorted(log.items["text"])
    joined = [", ".join(words) for words in shuffled.items["words"]]
    assert joined == shuffled.items["text"].to_list()  # all columns move together
    assert shuffled.events.equals(log.events)


def test_vectors_stand_beside_their_text(beauty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, made = amazon_beauty(beauty, seed=0), {"Face": [0.5, -1.0, 0.25], "Makeup, Face": [1.0, 0.0, -0.5]}
    monkeypatch.setattr(cold_files, "encode_texts", lambda texts, _: np.array([made[text] for text in texts]))
    for file in ("made.npz", "made.npz"):  # made, then read
        found = log.encoded(tmp_path / file).shuffled(2).items
        monkeypatch.delattr(cold_files, "encode_texts", raising=False)
        assert found["text_vector"].dtype == pl.List(pl.Float32)
        wanted = [made[text] for text in found["text"]]
        np.testing.assert_allclose(found["text_vector"].to_list(), wanted, atol=0.5 / 127)


def test_office_trains_on_valid_rows_and_asks_for_what_is_nowhere_in_them(tmp_path: Path) -> None:
    rows = [
        ("valid", "u1", "a b", "c"),
        ("valid", "u2", "", "b"),
        ("test", "u1", "a b c", "e"),
        ("valid", "u1", "a b c", "d"),
        ("test", "u3", "f", "a"),
        ("test", "u1", "b c e", "d"),
    ]
    table = pl.DataFrame(rows, schema=["split", "user_id", "history_item_ids", "item_id"], orient="row")
    (tmp_path / "next_item.csv.gz").write_bytes(gzip.compress(table.write_csv().encode()))
    fields = {item: {"title": f"T{item}", "description": "D", "brand": ""} for item in "abcdef"}
    (tmp_path / "items.json.gz").write_bytes(gzip.compress(json.dumps(fields).encode()))
    log = amazon_office_text(tmp_path, seed=0)
    # a user's valid rows are one history: the first row's items, then each row's next one, of which the last validates
    assert of_user(log, "u1") == [("a", 0), ("b", 1), ("c", 2), ("d", VALIDATION)]
    assert of_user(log, "u2") == [("b", VALIDATION)]
    assert log.cold == {"e", "f"}
    assert log.asked == {"u1 0", "u3 1", "u1 2"}
    assert of_user(log, "u1 0") == [("a", TEST), ("b", TEST + 1), ("c", TEST + 2), ("e", TEST + 3)]
    assert log.items["brand"].to_list() == [None] * 6


def test_ml_100k_is_cut_where_a_fifth_of_the_items_is_still_to_come(tmp_path: Path) -> None:
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    items = [number // 2 if number % 2 else number % 5 for number in range(100)]
    inter += [f"{number % 7}\t{item}\t3\t{100 + number}" for number, item in enumerate(items)]
    (tmp_path / "ml-100k.inter").write_text("\n".join(inter) + "\n")
    lines = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    lines += [f"{number}\tFilm {number}\t1990\tDrama War" for number in range(50)]
    (tmp_path / "ml-100k.item").write_text("\n".join(lines) + "\n")
    log = ml_100k(tmp_path, seed=0)
    first = log.events.group_by("item").agg(pl.col("timestamp").min())
    cut, test = log.cuts
    assert log.cold == set(first.filter(pl.col("timestamp") >= cut)["item"])
    assert len(log.cold) == first.height // 5
    assert cut < test < log.events["timestamp"].max()
    assert log.items["genres"].to_list()[0] == ["Drama", "War"]
    assert log.asked is None
    inner = log.inner(seed=0)  # the same of what comes before the cut
    assert inner.events["timestamp"].max() < cut
    assert inner.cuts[0] < inner.cuts[1] < cut
    assert len(inner.cold) == inner.events["item"].n_unique() // 5
    assert not inner.cold & log.cold


def test_the_report_pairs_requests_of_the_same_seed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def measured(gain: float) -> dict[str, object]:
        base = random.random(40) * 0.01
        values = {
            f"{label}/{name}": (base + gain).tolist() for label in ("cold", "all") for name in ("ndcg@10", "hr@10")
        }
        means = {"trained/ndcg@10": 0.2, "trained among all/ndcg@10": 0.19}
        return {"user": [str(row % 20) for row in range(40)], "cold_items": 5, "items": 50, **values, **means}

    for seed in (0, 1):
        for model, gain in (("content-knn", 0.1), ("tower", 0.3)):
            one = {"file": "ml-100k", "seed": seed, "model": model, "settings": None, "costs": {"0.0": measured(gain)}}
            (tmp_path / f"{seed}-{model}.json").write_text(json.dumps(one))
    (tmp_path / "ml-100k-0-selected.json").write_text("{}")  # not a measurement
    write_report(tmp_path, tmp_path / "COLD.md")
    rows = [line.split(" | ") for line in (tmp_path / "COLD.md").read_text().splitlines() if line.startswith("| tower")]
    assert len(rows) == 1
    value, low, high = (float(part.strip("(+)")) for part in rows[0][3].replace(" to ", " ").split())
    assert value == pytest.approx(0.2, abs=0.002)
    assert 0.19 < low < value < high < 0.21
