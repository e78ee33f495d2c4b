"""Features of events: what is kept, as which kind, and that each stays with its event."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pieces import tiny_pieces

from onward.data import readers
from onward.data.dataset import MISSING_TIME, Dataset, open_dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError, DataError

BASE = {"user": ["u", "u", "v"], "item": ["a", "b", "a"], "time": [2, 1, 3]}
"""In the dataset the order is b, a of u, then a of v."""


def made(folder: Path, columns: dict[str, Any], toml: str = "", **options: Any) -> Dataset:
    file = None
    if toml:
        file = folder / "features.toml"
        file.write_text(toml)
    prepare(pl.DataFrame(columns, strict=False), folder / "dataset", features=file, **options)
    return open_dataset(folder / "dataset")


def cells(dataset: Dataset, name: str) -> list[Any]:
    """The values of one event feature, decoded, in the order of the events."""
    codes = dataset.histories.columns[f"feature.{name}"]
    kind = dataset.manifest.event_features[name]
    if kind == "number":
        return [None if np.isnan(value) else float(value) for value in codes]
    if kind == "time":
        return [None if value == MISSING_TIME else int(value) for value in codes]
    values = dataset.event_values(name).to_list()
    return [None if code == 0 else values[code - 1] for code in codes]


def test_further_columns_become_features(tmp_path):
    shop, price, when = ["s2", None, "s1"], [1.5, 2.5, None], ["2024-01-02", "2024-01-03", None]
    tags, face = [["b", "a"], [], ["a"]], [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]
    frame = BASE | {"shop": shop, "price": price, "sent": pl.Series(when).str.to_date(), "tags": tags, "face": face}
    dataset = made(tmp_path, frame | {"gift": [True, False, True]})
    assert dataset.manifest.event_features == {
        "shop": "category",
        "price": "number",
        "sent": "time",
        "tags": "categories",
        "face": "vector",
        "gift": "category",
    }
    assert cells(dataset, "shop") == [None, "s2", "s1"]
    assert cells(dataset, "price") == [2.5, 1.5, None]
    day = 86_400_000_000
    assert cells(dataset, "sent") == [19725 * day, 19724 * day, None]
    assert cells(dataset, "tags") == [None, ["a", "b"], ["a"]]
    assert cells(dataset, "face") == [[3.0, 4.0], [1.0, 2.0], [1.0, 2.0]]
    assert cells(dataset, "gift") == ["false", "true", "true"]
    assert dataset.event_values("shop").to_list() == ["s1", "s2"]
    dtypes = {name: str(array.dtype) for name, array in dataset.histories.columns.items() if "feature" in name}
    assert dtypes == {
        "feature.face": "int32",
        "feature.gift": "int32",
        "feature.price": "float32",
        "feature.sent": "int64",
        "feature.shop": "int32",
        "feature.tags": "int32",
    }
    said = "features of events: shop, gift (category); price (number); sent (time); tags (categories); face (vector)"
    assert said in dataset.manifest.decisions


TEXTS = [
    ("1,2.5,-3e2", "number"),
    ("1,NA,3", "number"),
    ("007,010,011", "category"),  # a code keeps its zeros
    ("red,blue,red", "category"),
    ("2024-01-01,2024-01-02 10:00,", "time"),
    ("a nice long review text,so good it is bad,", "text"),
    ("[0.5 1.5],[1.0 2.0],", "vector"),
    ("[a b],[c],", "categories"),
]


@pytest.mark.parametrize(("values", "kind"), TEXTS)
def test_kinds_of_columns_without_types(tmp_path, values, kind):
    log = tmp_path / "log.csv"
    log.write_text("user,item,x\n" + "".join(f"u,i{n},{cell}\n" for n, cell in enumerate(values.split(","))))
    assert prepare(log, tmp_path / "dataset").manifest.event_features == {"x": kind}


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("store_id", [3, 1, 3], "category"),
        ("zipCode", [3, 1, 3], "category"),
        ("storeId", [3.0, None, 1.0], "category"),
        ("hours", [3, 1, 3], "number"),
        ("sent_at", [1_700_000_000, 1_700_000_001, 1_700_000_000], "time"),
        ("genres", ["a|b", "b", "c"], "categories"),
        ("zip", ["02139", "10001", "02139"], "category"),
        ("size", ["1", "2", "1"], "category"),  # a table with types means its texts to be texts
    ],
)
def test_kinds_of_columns_with_types(tmp_path, name, values, kind):
    dataset = made(tmp_path, BASE | {name: values})
    assert dataset.manifest.event_features == {name: kind}
    if name == "storeId":
        assert cells(dataset, name) == [None, "3", "1"]


def test_prices_with_decimal_commas(tmp_path):
    file = tmp_path / "events.csv"
    lines = [f"u{row % 7};i{row % 5};{1_000_000_000 + row};{row},{row % 10}{row % 3}\n" for row in range(50)]
    file.write_text("user;item;time;price\n" + "".join(lines), encoding="utf-8")
    prepare(file, tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    assert dataset.manifest.event_features == {"price": "number"}
    wanted = [row + (10 * (row % 10) + row % 3) / 100 for row in range(50)]
    assert sorted(cells(dataset, "price")) == pytest.approx(wanted, rel=1e-6)
    assert "numbers of column 'price' in events.csv have a decimal comma" in dataset.manifest.decisions
    prepare(file, tmp_path / "valued", value="price")
    assert sorted(open_dataset(tmp_path / "valued").histories.columns["value"]) == pytest.approx(wanted, rel=1e-6)


def test_columns_that_tell_nothing_are_left_out_with_the_reason(tmp_path):
    rows = 200
    frame = {
        "user": [f"u{n % 7}" for n in range(rows)],
        "item": [f"i{n % 11}" for n in range(rows)],
        "token": [f"{n:x}" for n in range(rows)],
        "row": range(rows),
        "shop": ["s"] * rows,
        "empty": pl.Series([None] * rows, dtype=pl.String),
        "took": pl.Series(range(rows)).cast(pl.Duration("ms")),
        "cents": [n * 37 % 10_007 for n in range(rows)],
    }
    dataset = made(tmp_path, frame)
    assert dataset.manifest.event_features == {"cents": "number"}  # spread out, so not numbers of rows
    said = "\n".join(dataset.manifest.decisions)
    assert "column 'token' of the log is left out: nearly all of its 200 values differ" in said
    assert "column 'row' of the log is left out: nearly all of its 200 values differ" in said
    assert "column 'shop' of the log is left out: it has the same value everywhere" in said
    assert "column 'empty' of the log is left out: it has no values" in said
    assert "column 'took' of the log is left out: its type, Duration(time_unit='ms'), holds no feature" in said


def test_no_features_when_asked(tmp_path):
    plain = prepare(pl.DataFrame(BASE), tmp_path / "plain").manifest
    without = prepare(pl.DataFrame(BASE | {"shop": ["a", "b", "a"]}), tmp_path / "without", features="none").manifest
    assert without.event_features == {}
    assert without.hash == plain.hash


def test_declared_columns(tmp_path):
    frame = BASE | {
        "event": ["view", "buy", "view"],
        "hour": [3, 4, 3],
        "token": ["a", "b", "c"],
        "note": ["x", "y", "x"],
    }
    toml = """
        [events.event]
        known_at_request = true
        [events.hour]
        kind = "category"
        known_at_request = true
        [events.note]
        kind = "text"
        [events.token]
        use = false
    """
    dataset = made(tmp_path, frame, toml)
    assert dataset.manifest.event_features == {"hour": "category", "note": "text"}
    assert dataset.manifest.known_at_request == ["action", "hour"]
    assert cells(dataset, "hour") == ["4", "3", "3"]
    assert "column 'token' of the log is left out: features.toml says use = false" in dataset.manifest.decisions
    said = "known when a recommendation is asked for: action, hour; nothing else of the event is"
    assert said in dataset.manifest.decisions


def test_declared_sets_and_vectors_in_text(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text('user,item,tags,face\nu,a,"[""x"", \'y\']",1 2\nu,b,z|x,"[3, 4]"\nu,c,,\n')
    (tmp_path / "features.toml").write_text('[events.tags]\nkind="categories"\n[events.face]\nkind="vector"\n')
    dataset = prepare(log, tmp_path / "dataset", features=tmp_path / "features.toml")
    assert cells(dataset, "tags") == [["x", "y"], ["x", "z"], None]
    assert cells(dataset, "face") == [[1, 2], [3, 4], None]


def test_recbole_types_count(tmp_path):
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\tage:token\tshare:float\ttags:token_seq\tvec:float_seq\n"
        "1\t2\t30\t4\ta b\t1 2\n1\t3\t31\t5\tb\t3 4\n"
    )
    dataset = prepare(tmp_path / "x.inter", tmp_path / "dataset")
    kinds = {"age": "category", "share": "number", "tags": "categories", "vec": "vector"}
    assert dataset.manifest.event_features == kinds
    assert cells(dataset, "tags") == [["a", "b"], ["b"]]


def test_json_lines_with_lists(tmp_path):
    rows = [
        {"user": 1, "item": 2, "tags": ["a", "b"], "vec": [0.5, 1.5], "n": 1},
        {"user": 1, "item": 3, "tags": [], "vec": [1.0, 2.0], "n": 2},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = prepare(tmp_path / "log.jsonl", tmp_path / "dataset")
    assert dataset.manifest.event_features == {"tags": "categories", "vec": "vector", "n": "number"}
    assert cells(dataset, "tags") == [["a", "b"], None]


def test_a_table_that_lacks_a_column_has_no_values_in_it(tmp_path):
    first = pl.DataFrame({"user": ["u"], "item": ["a"], "shop": ["s"], "price": [2.0]})
    second = pl.DataFrame({"user": ["u"], "item": ["b"]})
    dataset = prepare([first, second], tmp_path / "dataset")
    assert cells(dataset, "shop") == ["s", None]
    assert cells(dataset, "price") == [2.0, None]


def test_odd_names_of_columns(tmp_path):
    names = ["a/b", "naïve 价格", "..", "x\ny", "feature.x", "%2F", "a" * 100]
    frame = BASE | {name: [number, 1, 2] for number, name in enumerate(names, start=5)}
    dataset = made(tmp_path, frame)
    for number, name in enumerate(names, start=5):
        assert cells(dataset, name) == [1, number, 2]
    long = prepare(pl.DataFrame(BASE | {"价" * 60: ["x", "y", "x"]}), tmp_path / "long").manifest
    assert long.event_features == {}
    assert any("its name is too long" in said for said in long.decisions)


def test_rejected_rows_take_their_features_with_them(tmp_path):
    frame = {"user": ["u", None, "u"], "item": ["a", "b", "c"], "shop": ["x", "y", "z"], "price": [1, float("inf"), 3]}
    dataset = made(tmp_path, frame, allow_rejected=True)
    assert cells(dataset, "price") == [1, 3]
    assert dataset.event_values("shop").to_list() == ["x", "z"]


def test_the_hash_follows_features(tmp_path):
    hashes = [
        prepare(pl.DataFrame(BASE | columns), tmp_path / str(number)).manifest.hash
        for number, columns in enumerate(
            [{}, {"x": ["p", "q", "p"]}, {"x": ["p", "r", "p"]}, {"x": ["q", "p", "p"]}, {"y": ["p", "q", "p"]}]
        )
    ]
    assert len(set(hashes)) == len(hashes)
    again = prepare(pl.DataFrame(BASE | {"x": ["p", "q", "p"]}), tmp_path / "again").manifest.hash
    assert again == hashes[1]


def test_values_are_told_by_name(tmp_path):
    dataset = made(tmp_path, BASE | {"shop": ["x", "y", "x"], "price": [1.5, 2.0, 3.0]})
    with pytest.raises(ConfigError, match="unknown coded event feature 'shp'; did you mean 'shop'"):
        dataset.event_values("shp")
    with pytest.raises(ConfigError, match="unknown coded event feature 'price'; known: shop"):
        dataset.event_values("price")


Row = tuple[str, str, int, str | None, float | None, list[str] | None, list[float] | None]
row = st.tuples(
    st.sampled_from("uvw"),
    st.sampled_from("abc"),
    st.integers(0, 3),
    st.one_of(st.none(), st.sampled_from(["s", "é", "t, u", "😀", "x" * 50])),
    st.one_of(st.none(), st.integers(-3, 3).map(float)),
    st.one_of(st.none(), st.lists(st.sampled_from("pqr"), max_size=3)),
    st.one_of(st.none(), st.lists(st.integers(0, 1).map(float), min_size=2, max_size=2)),
)
SCHEMA = {
    "user": pl.String,
    "item": pl.String,
    "time": pl.Int64,
    "shop": pl.String,
    "price": pl.Float64,
    "tags": pl.List(pl.String),
    "face": pl.List(pl.Float64),
}
TOML = "".join(
    f'[events.{name}]\nkind = "{kind}"\n'
    for name, kind in {"shop": "category", "price": "number", "tags": "categories", "face": "vector"}.items()
)


@settings(max_examples=40, deadline=None)
@given(st.lists(row, min_size=1, max_size=25), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(1, 2))
def test_features_stay_with_their_events(rows: list[Row], chunk: int, bucket: int, first: bool, least: int) -> None:
    """Against a slow version, whatever the chunks and buckets, with duplicates and users left out."""
    kept = []
    for number, one in enumerate(rows):
        if not (first and one[:3] in [other[:3] for other in rows[:number]]):
            kept.append(one)
    users = [one[0] for one in kept]
    kept = [one for one in kept if users.count(one[0]) >= least]
    if not kept:
        return
    wanted = [
        (one[0], one[1], *one[3:5], sorted(set(one[5])) if one[5] else None, one[6])
        for user in sorted(set(users))
        for one in sorted((one for one in kept if one[0] == user), key=lambda one: one[2])
    ]
    with tempfile.TemporaryDirectory() as folder, tiny_pieces(chunk, bucket):
        (Path(folder) / "features.toml").write_text(TOML)
        dataset = prepare(
            pl.DataFrame(rows, schema=SCHEMA, orient="row"),
            Path(folder) / "dataset",
            features=Path(folder) / "features.toml",
            duplicates="first" if first else "keep",
            min_length=least,
        )
        names = dataset.users["user"].to_list()
        owners = np.repeat(np.arange(len(names)), dataset.histories.lengths)
        found = list(
            zip(
                [names[owner] for owner in owners],
                [dataset.catalog.id(int(item)) for item in dataset.histories.item],
                *(cells(dataset, name) for name in ("shop", "price", "tags", "face")),
                strict=True,
            )
        )
        assert found == wanted
        for name in ("shop", "tags", "face"):  # no value is kept that no event has, and none is missed
            codes = dataset.histories.columns[f"feature.{name}"]
            assert set(codes.tolist()) - {0} == set(range(1, dataset.event_values(name).len() + 1))
        shops = dataset.event_values("shop").to_list()
        assert shops == sorted(shops, key=str.encode)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (
            '[events.colour]\nkind = "category"',
            r"features.toml: \[events.colour\]: unknown column 'colour'; known: empty, item, shop",
        ),
        ('[events.shop]\nkind = "colour"', "features.toml: events.shop.kind = 'colour'"),
        ("[events.shop]\nknown = true", "unknown setting 'known'.* known: kind, known_at_request, sentiment, use"),
        ('[events.item]\nkind = "category"', "the column is the item of the events, not a feature of its own"),
        ("[items.shop]\nknown_at_request = true", "features of items are always known"),
        ("[items.shop]\nuse = false", r"\[items.shop\]: unknown column 'shop'; known: none"),
        ("[events.empty]\nknown_at_request = true", r"\[events.empty\]: the column is no feature: it has no values"),
        ("[events", "not valid TOML"),
        ("[items.shop]\nsentiment = true", "sentiment is the mood of an event's text"),
        ('[events.shop]\nkind = "number"\nsentiment = true', "sentiment is the mood of a text, and kind says number"),
        ("[events.shop]\nsentiment = true", "sentiment is the mood of a text, and the column looks like a category"),
        ("[events.item]\nsentiment = true", "the column is the item of the events, not a feature of its own"),
    ],
)
def test_a_features_file_that_does_not_fit(tmp_path, toml, said):
    columns = BASE | {"shop": ["x", "y", "x"], "empty": pl.Series([None] * 3, dtype=pl.String)}
    with pytest.raises(ConfigError, match=said):
        made(tmp_path, columns, toml)
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize(
    ("kind", "column", "said"),
    [
        ("number", ["1", "12 EUR", "3"], "row 2: column 'x' is a number, features.toml says, and '12 EUR' is not"),
        ("time", ["2024-01-01", "soon", None], "row 2: column 'x' is a time, features.toml says, and 'soon' is not"),
        ("vector", ["1 2", "1 a", None], "row 2: column 'x' is a vector, features.toml says, and '1 a' is not"),
        ("number", [["a"], ["b"], []], r"column 'x' has type List\(String\), which can't be a number"),
        ("category", [[1], [2], []], r"column 'x' has type List\(Int64\), which can't be a category"),
        ("categories", [1, 2, 3], "column 'x' has type Int64, which can't be a set of categories"),
        ("vector", [1, 2, 3], "column 'x' has type Int64, which can't be a vector"),
        ("time", [[1], [2], []], r"column 'x' has type List\(Int64\), which can't be a time"),
        ("time", [1.7e9, 1.7e12, None], "column 'x': the times are of mixed kinds"),
        ("vector", [[1, 2], [3], None], "row 2: column 'x' holds a vector of 1 numbers, and those before have 2"),
        ("vector", [[1, 2], None, [1, None]], "row 3: column 'x' holds a vector with nothing at place 2 of 2"),
    ],
)
def test_cells_that_contradict_the_file(tmp_path, kind, column, said):
    with pytest.raises(DataError, match=said):
        made(tmp_path, BASE | {"x": column}, f'[events.x]\nkind = "{kind}"')


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([1.0, float("inf"), 2.0], "frame 1 row 2: column 'x' is infinite"),
        ([1.0, 2.0, -1e300], "frame 1 row 3: column 'x' is -1e\\+300, beyond 32-bit floats"),
        ([[1.0, 2.0], [1.0], None], "frame 1 row 2: column 'x' holds a vector of 1 numbers, and those before have 2"),
        ([[1.0], [float("nan")], None], "frame 1 row 2: column 'x' holds a vector with NaN at place 1 of 1"),
        ([[1.0], None, [float("inf")]], "frame 1 row 3: column 'x' holds a vector with an infinite number at place 1"),
        ([[1.0], [], None], "frame 1 row 2: column 'x' holds a vector of 0 numbers"),
        (["x", "y" * 1_000_000, "z"], "frame 1 row 2: column 'x' is a text of 1,000,000 bytes"),
    ],
)
def test_cells_that_no_feature_may_have(tmp_path, column, said):
    with pytest.raises(DataError, match=said) as caught:
        made(tmp_path, BASE | {"x": column})
    assert "[events.x] use = false" in str(caught.value)
    assert made(tmp_path, BASE | {"x": column}, "[events.x]\nuse = false").manifest.event_features == {}


@pytest.mark.parametrize("rows_before", [0, 3])
def test_widths_are_compared_across_chunks(tmp_path, rows_before):
    rows = [("u", "a", [1.0, 2.0])] * (rows_before + 1) + [("u", "b", [1.0])]
    frame = pl.DataFrame(rows, schema=["user", "item", "x"], orient="row")
    with (
        mock.patch.object(readers, "CHUNK_ROWS", 1),
        pytest.raises(DataError, match=f"row {rows_before + 2}: column 'x'"),
    ):
        prepare(frame, tmp_path / "dataset")


def test_a_category_with_ten_million_values(tmp_path):
    """Declared, it is refused at the row that is one too many; found by itself, it is left out, and said."""
    few = 1_000
    rows = 10_000_000
    frame = pl.select(user=pl.int_range(rows) % few, item=pl.int_range(rows) % few, x=pl.int_range(rows))
    (tmp_path / "features.toml").write_text('[events.x]\nkind = "category"\n')
    with pytest.raises(DataError, match=r"row 2,?000,?001: column 'x' has more than 2,000,000 different values"):
        prepare(frame, tmp_path / "dataset", features=tmp_path / "features.toml")
    names = frame.head(300_000).select("user", "item", x=pl.format("token-{}", "x"))
    manifest = prepare(names, tmp_path / "dataset").manifest
    assert manifest.event_features == {}
    assert any("column 'x' of the log is left out: nearly all" in said for said in manifest.decisions)


def test_the_mood_of_a_review_is_a_feature_beside_its_text_or_in_its_place(tmp_path):
    pytest.importorskip("vaderSentiment")
    reviews = ["I love it, it is wonderful!", "It broke at once, terrible.", None]
    dataset = made(tmp_path, BASE | {"review": reviews}, "[events.review]\nsentiment = true")
    assert dataset.manifest.event_features == {"review": "text", "review.sentiment": "number"}
    bad, good, none = cells(dataset, "review.sentiment")
    assert bad < -0.4
    assert good > 0.6
    assert none is None
    (tmp_path / "alone").mkdir()
    alone = made(tmp_path / "alone", BASE | {"review": reviews}, "[events.review]\nsentiment = true\nuse = false")
    assert alone.manifest.event_features == {"review.sentiment": "number"}
    assert cells(alone, "review.sentiment") == [bad, good, None]


def test_the_mood_of_texts_in_other_scripts_is_refused(tmp_path):
    pytest.importorskip("vaderSentiment")
    reviews = ["很好，我喜欢这个东西", "不错 的 东西 值得 买", "It is fine, I like it."]
    toml = '[events.review]\nkind = "text"\nsentiment = true'
    with pytest.raises(
        DataError, match=r"column 'review': sentiment knows English, and 67% of 3 .*'不错 的 东西 值得 买'"
    ):
        made(tmp_path, BASE | {"review": reviews}, toml)
    assert not (tmp_path / "dataset").exists()
