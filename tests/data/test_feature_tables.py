"""Item and user features, vectors of items and links: what is stored, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError, DataError

LOG = pl.DataFrame({"user": ["u", "u", "v", "w"], "item": ["a", "b", "a", "c"], "time": [2, 1, 3, 4]})


def made(folder: Path, toml: str = "", **options: Any) -> Dataset:
    if toml:
        options["features"] = folder / "features.toml"
        (folder / "features.toml").write_text(toml)
    prepare(LOG, folder / "dataset", **options)
    return open_dataset(folder / "dataset")


def items_of(folder: Path, columns: dict[str, Any], toml: str = "") -> Dataset:
    return made(folder, toml, items=pl.DataFrame({"item": ["a", "b", "c"]} | columns, strict=False))


def test_kinds_of_item_features(tmp_path):
    dataset = items_of(
        tmp_path,
        {
            "title": ["A long way", "B", "C"],
            "brand_id": [1, 2, 1],
            "year": [1999, 2000, 2000],
            "new": [True, False, None],
            "face": [[1.0, 2.0], None, [3.0, 4.0]],
            "price": [1.0, float("nan"), 2.0],
        },
    )
    assert dataset.manifest.item_features == {
        "title": "text",
        "brand_id": "category",
        "year": "number",
        "new": "category",
        "face": "vector",
        "price": "number",
    }
    assert dataset.catalog.frame["price"].to_list() == [1.0, None, 2.0]
    assert "features of items: title (text); brand_id, new (category); year, price (number); face (vector)" in (
        dataset.manifest.decisions
    )


def test_lists_written_as_text(tmp_path):
    (tmp_path / "items.csv").write_text(
        'item,also,near,n\na,"[1, 2]","[0.5, 1.5]",1\nb,"[]","[1, 2]",NA\nc,"[\'x\']",,3\n'
    )
    dataset = made(tmp_path, items=tmp_path / "items.csv")
    assert dataset.manifest.item_features == {"also": "categories", "near": "vector", "n": "number"}
    frame = dataset.catalog.frame
    assert frame["also"].to_list() == [["1", "2"], None, ["x"]]
    assert frame["near"].to_list() == [[0.5, 1.5], [1.0, 2.0], None]
    assert frame["n"].to_list() == [1, None, 3]


def test_declared_item_and_user_features(tmp_path):
    items = pl.DataFrame({"item": ["a", "b", "c"], "year": ["1999", "2000", "1999"], "link": ["x", "y", "z"]})
    users = pl.DataFrame({"user": ["u", "v"], "since": ["2020-01-01", "2021-01-01"], "tags": ["p|q", ""]})
    toml = """
        [items.year]
        kind = "number"
        [items.link]
        use = false
        [users.since]
        kind = "time"
        [users.tags]
        kind = "categories"
    """
    dataset = made(tmp_path, toml, items=items, users=users)
    assert dataset.manifest.item_features == {"year": "number"}
    assert dataset.catalog.frame.columns == ["item", "year", "link"]  # still shown, and no feature
    assert dataset.catalog.frame["year"].to_list() == [1999.0, 2000.0, 1999.0]
    assert dataset.manifest.user_features == {"since": "time", "tags": "categories"}
    assert dataset.users["since"].dtype == pl.Datetime("us")
    assert dataset.users["tags"].to_list() == [["p", "q"], None, None]


def test_identifiers_among_item_features_are_shown_but_no_feature(tmp_path):
    names = [f"i{number:03}" for number in range(150)]
    log = pl.DataFrame({"user": ["u"] * 150, "item": names})
    items = pl.DataFrame(
        {"item": names, "ean": [f"{number:x}" for number in range(150)], "brand": ["p", "q", "q"] * 50}
    )
    dataset = prepare(log, tmp_path / "dataset", items=items)
    assert dataset.manifest.item_features == {"brand": "category"}
    assert "ean" in dataset.catalog.frame.columns
    assert any("column 'ean' of the items is no feature: nearly all" in said for said in dataset.manifest.decisions)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([1.0, float("inf"), 2.0], "frame 1 row 2: column 'x' is infinite"),
        ([[1.0, 2.0], [1.0], None], "row 2: column 'x' holds a vector of 1 numbers, and those before have 2"),
        ([[1.0], None, [float("nan")]], "row 3: column 'x' holds a vector with NaN at place 1 of 1"),
        ([[1.0], None, [None]], "row 3: column 'x' holds a vector with nothing at place 1 of 1"),
        (["x", "y" * 1_000_000, "z"], "row 2: column 'x' is a text of 1,000,000 bytes, and a text may have 100,000"),
    ],
)
def test_cells_that_no_item_feature_may_have(tmp_path, column, said):
    with pytest.raises(DataError, match=said) as caught:
        items_of(tmp_path, {"x": column})
    assert "[items.x] use = false" in str(caught.value)


def test_a_features_file_that_contradicts_an_item_table(tmp_path):
    with pytest.raises(DataError, match=r"row 3: column 'x' is a number, features.toml says, and 'cheap' is not"):
        items_of(tmp_path, {"x": ["1", "2", "cheap"]}, '[items.x]\nkind = "number"')
    with pytest.raises(DataError, match=r"row 1: column 'x' is a time, features.toml says, and 'cheap' is not"):
        items_of(tmp_path, {"x": ["cheap", None, None]}, '[items.x]\nkind = "time"')
    with pytest.raises(ConfigError, match=r"\[items.y\]: unknown column 'y'; known: x"):
        items_of(tmp_path, {"x": ["1", "2", "3"]}, '[items.y]\nkind = "number"')


def test_features_of_unknown_items(tmp_path):
    items = pl.DataFrame({"item": ["zz", "a", "yy"], "x": [1, 2, 3]})
    decisions = made(tmp_path, items=items).manifest.decisions
    assert "2 items of frame 1 have no events and are left out (the first, 'zz', in row 1)" in decisions
    wrong = pl.DataFrame({"item": ["A", "B"], "x": [1, 2]})
    with pytest.raises(
        DataError, match="none of the 2 items has events: row 1 is 'A', and the log's first item is 'a'"
    ):
        prepare(LOG, tmp_path / "other", items=wrong)


def test_item_rows_that_disagree(tmp_path):
    items = pl.DataFrame({"item": ["a", "b", "a"], "x": [1, 2, 1], "tags": [["p"], ["q"], ["r"]]})
    said = r"item 'a' has two rows that disagree: column 'tags' is \['p'\] in row 1 and \['r'\] in row 3"
    with pytest.raises(DataError, match=said):
        made(tmp_path, items=items)


# vectors of items


def vectors(folder: Path, rows: Any, ids: str | None = None) -> str:
    np.save(folder / "face.npy", np.asarray(rows))
    if ids is None:
        return f"face={folder / 'face.npy'}"
    (folder / "ids.txt").write_text(ids)
    return f"face={folder / 'face.npy'}:{folder / 'ids.txt'}"


def test_vectors_by_their_ids(tmp_path):
    nan = float("nan")
    text = vectors(tmp_path, [[1, 2], [3, 4], [nan, nan], [5, 6]], "c\na\nb\nzz\n")
    dataset = made(tmp_path, item_vectors=[text])
    assert dataset.catalog.frame["face"].dtype == pl.List(pl.Float32)
    assert dataset.catalog.frame["face"].to_list() == [[3, 4], None, [1, 2]]
    assert dataset.manifest.item_features == {"face": "vector"}
    said = (
        "face = vectors of 2 numbers from face.npy, for 2 items; 1 items have none; 1 vectors of items without events"
    )
    assert any(decision.startswith(said) for decision in dataset.manifest.decisions)


def test_vectors_in_the_order_of_the_item_table(tmp_path):
    items = pl.DataFrame({"item": ["c", "zz", "a"], "x": [1, 2, 3]})
    dataset = made(tmp_path, items=items, item_vectors=[vectors(tmp_path, np.arange(6, dtype="f2").reshape(3, 2))])
    assert dataset.catalog.frame["face"].to_list() == [[4, 5], None, [0, 1]]


@pytest.mark.parametrize(
    ("rows", "ids", "said"),
    [
        ([[1.0, 2.0], [float("nan"), 4.0]], "a\nb\n", "face.npy row 2: column 'face' holds NaN at place 1 of 2"),
        ([[1.0, float("inf")], [3.0, 4.0]], "a\nb\n", "face.npy row 1: column 'face' holds inf"),
        ([[1.0, 2.0]], "a\nb\n", "face.npy has 1 rows, and .*ids.txt has 2 ids"),
        ([[1.0], [2.0]], "a\na\n", "face.npy: column 'face': item 'a' has the rows 1 and 2"),
        ([[1.0], [2.0]], "A\nB\n", "none of its 2 items has events: row 1 is 'A', and the log's first item is 'a'"),
        ([1.0, 2.0], "a\nb\n", r"face.npy has shape \(2,\) and type float64"),
        ([["x"], ["y"]], "a\nb\n", "face.npy has shape"),
    ],
)
def test_vectors_that_can_not_be_used(tmp_path, rows, ids, said):
    with pytest.raises(DataError, match=said):
        made(tmp_path, item_vectors=[vectors(tmp_path, rows, ids)])
    assert not (tmp_path / "dataset").exists()


def test_vectors_that_are_not_given_right(tmp_path):
    with pytest.raises(ConfigError, match=r"'face.npy' is not of the form NAME=FILE.npy"):
        made(tmp_path, item_vectors=["face.npy"])
    with pytest.raises(DataError, match=r"no such file: none.npy"):
        made(tmp_path, item_vectors=["face=none.npy:ids.txt"])
    with pytest.raises(ConfigError, match=r"which item is a row of face.npy"):
        made(tmp_path, item_vectors=[vectors(tmp_path, [[1.0]])])
    (tmp_path / "face.npy").write_bytes(b"not an array")
    with pytest.raises(DataError, match=r"face.npy is not a sound .npy file"):
        made(tmp_path, item_vectors=[f"face={tmp_path / 'face.npy'}:x"])
    items = pl.DataFrame({"item": ["a"], "face": [1]})
    with pytest.raises(DataError, match="the item tables have a column 'face' too"):
        made(tmp_path, items=items, item_vectors=[vectors(tmp_path, [[1.0]])])


# links


def test_links(tmp_path):
    links = pl.DataFrame(
        {"userID": ["v", "u", "u", "v"], "friendID": ["u", "w", "v", "u"], "weight": [2.0, None, 0.5, 2.0]}
    )
    dataset = made(tmp_path, links=links)
    assert dataset.links is not None
    assert dataset.links.schema == {"user": pl.Int32, "friend": pl.Int32, "weight": pl.Float32}
    assert dataset.links.rows() == [(0, 1, 0.5), (0, 2, 1.0), (1, 0, 2.0)]
    assert dataset.manifest.links == 3
    assert "3 links among 2 users" in dataset.manifest.decisions
    assert made(tmp_path / "without").links is None
    assert dataset.manifest.hash != open_dataset(tmp_path / "without" / "dataset").manifest.hash


def test_links_in_a_text_file_without_a_header(tmp_path):
    log = pl.DataFrame({"user": [1, 2], "item": [5, 6]})
    (tmp_path / "links.txt").write_text("1\t2\n2\t1\n")
    dataset = prepare(log, tmp_path / "dataset", links=tmp_path / "links.txt")
    assert dataset.links is not None
    assert dataset.links.rows() == [(0, 1, 1.0), (1, 0, 1.0)]


LINKS = [
    (("u", "x", 1.0), "frame 1 row 2: column 'friend' is a friend without events: 'x'"),
    (("x", "u", 1.0), "frame 1 row 2: column 'user' is a user without events: 'x'"),
    (("v", "v", 1.0), "frame 1 row 2: column 'friend' is a link to oneself: 'v'"),
    (("v", None, 1.0), "frame 1 row 2: column 'friend' is missing friend"),
    (("v", "u", -1.0), "frame 1 row 2: column 'weight' is a weight that is not above 0: '-1.0'"),
]


@pytest.mark.parametrize(("row", "said"), LINKS)
def test_links_that_can_not_be_used(tmp_path, row, said):
    links = pl.DataFrame([("u", "v", 1.0), row], schema=["user", "friend", "weight"], orient="row")
    with pytest.raises(DataError, match=said):
        made(tmp_path, links=links)
    dataset = made(tmp_path, links=links, allow_rejected=True)
    assert dataset.manifest.links == dataset.manifest.rejected == 1
    assert pl.read_parquet(dataset.segment / "rejected.parquet")["row"].to_list() == [2]


def test_links_that_disagree_or_have_no_columns(tmp_path):
    links = pl.DataFrame({"user": ["u", "u"], "friend": ["v", "v"], "weight": [1.0, 3.0]})
    with pytest.raises(
        DataError, match="frame 1 row 2: column 'weight' of 'u' and 'v' is 3, and 1 in row 1 of frame 1"
    ):
        made(tmp_path, links=links)
    infinite = pl.DataFrame({"user": ["u"], "friend": ["v"], "weight": [float("inf")]})
    with pytest.raises(DataError, match="frame 1 row 1: column 'weight' is infinite"):
        made(tmp_path, links=infinite)
    with pytest.raises(DataError, match="no friend column among 'user', 'colour'"):
        made(tmp_path, links=pl.DataFrame({"user": ["u"], "colour": ["red"]}))


def test_links_of_users_that_filters_left_out(tmp_path):
    links = pl.DataFrame({"user": ["u", "u"], "friend": ["v", "w"]})
    log = pl.concat([LOG, LOG.filter(pl.col("user") == "v")])
    dataset = prepare(log, tmp_path / "dataset", links=links, min_length=2)
    assert dataset.links is not None
    assert dataset.links.rows() == [(0, 1, 1.0)]
    assert "1 links of users that the filters left out are left out too" in dataset.manifest.decisions
