"""Every kind of table to the same rows."""

from __future__ import annotations

import gzip
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from onward.data.layouts import expand
from onward.data.prepare import prepare
from onward.data.readers import open_source
from onward.data.schema import find_roles
from onward.errors import DataError

ROWS = [{"user": "1", "item": "a,b", "time": "5"}, {"user": "2", "item": 'say "hi"\nthere', "time": "6"}]


def rows(path: object, kind: str = "events", **options: object) -> list[dict[str, object]]:
    return open_source(path, kind, **options).table().to_dicts()  # type: ignore[arg-type]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.txt", ";"), ("a.dat", "|")])
def test_separated_text(tmp_path, name, separator):
    quoted = '"say ""hi""\nthere"'
    lines = [("user", "item", "time"), ("1", '"a,b"', "5"), ("2", quoted, "6")]
    path = write(tmp_path / name, "".join(separator.join(line) + "\n" for line in lines))
    assert rows(path) == ROWS
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rows(packed) == ROWS


def test_decimal_commas_of_a_file_cut_at_semicolons(tmp_path):
    text = "user;item;price;stock;tags;note, long\n1;x;10,50;1,200;3,17;a, b\n2;y;;2,500;3;\n"
    text += "3;z;1.234,5;7;1,2,3;NA\n4;x;-2.000;8;4;5,0\n"
    source = open_source(write(tmp_path / "a.csv", text))
    assert source.commas == ("price",), "1,200 may part thousands, 1,2,3 is no number, and a note is text"
    found = source.table().to_dict(as_series=False)
    assert found["price"] == ["10.50", None, "1234.5", "-2000"]
    assert found["stock"] == ["1,200", "2,500", "7", "8"]
    assert found["tags"] == ["3,17", "3", "1,2,3", "4"]
    assert next(source.read(["user"]))[1].columns == ["user"]
    bare = open_source(write(tmp_path / "bare.csv", "7;9;3,5;881250949\n8;9;4;881250950\n"))
    assert bare.commas == ("rating",)
    assert [row["rating"] for row in bare.table().to_dicts()] == ["3.5", "4"]
    quoted = open_source(write(tmp_path / "b.csv", 'user,item,price\n1,x,"10,50"\n'))
    assert quoted.commas == (), "where commas part fields, a number has a point"


def test_a_tab_separated_dump_may_hold_bare_quotes(tmp_path):
    path = write(tmp_path / "artists.dat", 'id\tname\n1\t"Weird Al" Yankovic\n2\t12" mix\n')
    assert [row["name"] for row in rows(path, "items")] == ['"Weird Al" Yankovic', '12" mix']


def test_windows_lines_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path / "a.csv", "\ufeffuser,item\r\n1,x\r\n2,y\r\n")
    assert rows(path) == [{"user": "1", "item": "x"}, {"user": "2", "item": "y"}]


def test_spaces_around_the_names_of_a_header(tmp_path):
    assert open_source(write(tmp_path / "a.csv", "user_id, item_id \n1,2\n")).columns == ["user_id", "item_id"]


def test_no_header_when_the_first_line_holds_numbers(tmp_path):
    path = write(tmp_path / "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    assert rows(path)[0] == {"user": "196", "item": "242", "rating": "3", "timestamp": "881250949"}
    path = write(tmp_path / "odd.csv", "1,2,3\n")
    assert rows(path) == [{"column_1": "1", "column_2": "2", "column_3": "3"}]


def test_the_literatures_text_forms(tmp_path):
    pairs = write(tmp_path / "pairs.txt", "1 5\n1 6\n2 5\n")
    lines = write(tmp_path / "lines.txt", "1 5 6\n\n2  5 \n")
    wanted = [{"user": "1", "item": "5"}, {"user": "1", "item": "6"}, {"user": "2", "item": "5"}]
    assert rows(pairs) == rows(lines) == wanted


def test_movielens(tmp_path):
    ratings = write(tmp_path / "ratings.dat", "1::1193::5::978300760\n")
    assert rows(ratings) == [{"user": "1", "item": "1193", "rating": "5", "timestamp": "978300760"}]
    movies = write(
        tmp_path / "movies.dat", "1::Toy Story (1995)::Animation|Comedy\n9::Misérables, Les::Drama\n", "latin-1"
    )
    assert rows(movies, "items")[1] == {"item": "9", "title": "Misérables, Les", "genres": "Drama"}
    users = write(tmp_path / "users.dat", "1::F::1::10::02460\n")
    assert rows(users, "users")[0]["zip_code"] == "02460"


def test_recbole_headers_lose_their_types(tmp_path):
    path = write(tmp_path / "x.inter", "user_id:token\titem_id:token\trating:float\n1\t2\t3.5\n")
    source = open_source(path)
    assert source.columns == ["user_id", "item_id", "rating"]
    assert source.types["rating"] == "float"
    assert source.table().rows() == [("1", "2", "3.5")]


def test_recbole_features(tmp_path):
    write(tmp_path / "x.inter", "user_id:token\titem_id:token\n1\t2\n")
    header = "item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\tyear:token\tvec:float_seq\n"
    write(tmp_path / "x.item", header + '2\tSay "Anything"\tComedy Drama\t1.5\t1989\t0.5 1\n')
    dataset = prepare(tmp_path, tmp_path / "dataset")
    assert dataset.catalog.frame.rows() == [("2", 'Say "Anything"', ["Comedy", "Drama"], 1.5, "1989", [0.5, 1.0])]
    assert dataset.manifest.item_features["vec"] == "vector"


def test_typed_files(tmp_path):
    frame = pl.DataFrame({"user": [1, 2], "item": ["x", None]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.arrow")
    assert rows(tmp_path / "a.parquet") == rows(tmp_path / "a.arrow") == frame.to_dicts()


def test_json_lines_keep_every_digit(tmp_path):
    path = write(
        tmp_path / "a.jsonl", '{"user": 9223372036854775808, "item": "7"}\n\n{"item": 7, "user": "x", "more": [1]}\n'
    )
    source = open_source(path)
    assert [chunk.rows() for _, chunk in source.read(["user", "item"])] == [[("9223372036854775808", "7"), ("x", "7")]]


def test_frames():
    frame = pl.DataFrame({"user": [1], "item": [2]})
    assert rows(frame) == rows(frame.lazy()) == rows(pd.DataFrame({"user": [1], "item": [2]})) == frame.to_dicts()
    with pytest.raises(DataError, match="can't be a dict"):
        open_source({"user": [1]})


def test_sqlite(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE log (who, what, at)")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?)", [(2**62, "x", 5), ("u", 7, 6.5)])
    connection.close()
    query = "SELECT who AS user, what AS item, at AS time FROM log ORDER BY at;"
    wanted = [{"user": str(2**62), "item": "x", "time": "5"}, {"user": "u", "item": "7", "time": "6.5"}]
    assert rows(path, query=query) == wanted
    assert rows(f"sqlite:///{path}?query=SELECT who AS user, what AS item, at AS time FROM log") == wanted
    with pytest.raises(DataError, match="no query"):
        open_source(path)
    with pytest.raises(DataError, match="no such table: logs"):
        open_source(path, query="SELECT * FROM logs")
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "none.db", query="SELECT 1")


def test_publishers_layouts(tmp_path):
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    write(folder / "ratings.dat", "1::10::5::978300760\n1::20::4::978300761\n")
    write(folder / "movies.dat", "10::Toy Story (1995)::Animation|Comedy\n", "latin-1")
    write(folder / "users.dat", "1::F::1::10::48067\n")
    write(folder / "README", "about")
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-1m/{file.name}")
    from_folder = prepare(folder, tmp_path / "one")
    assert prepare(tmp_path / "ml-1m.zip", tmp_path / "two").manifest.hash == from_folder.manifest.hash
    assert from_folder.catalog.frame.rows() == [
        ("10", "Toy Story (1995)", ["Animation", "Comedy"]),
        ("20", None, None),
    ]
    assert from_folder.users.rows() == [("1", "F", 1, 10, 48067)]


def test_a_folder_of_parquet_parts_is_one_table(tmp_path):
    for part, item in enumerate("ba"):
        pl.DataFrame({"user": ["u"], "item": [item]}).write_parquet(tmp_path / f"part-{part}.parquet")
    assert [path.name for path in expand(tmp_path, tmp_path).events] == ["part-0.parquet", "part-1.parquet"]


def test_a_folder_in_no_known_layout(tmp_path):
    write(tmp_path / "a.csv", "user,item\n1,2\n")
    assert expand(tmp_path, tmp_path).events == [tmp_path / "a.csv"]
    write(tmp_path / "b.csv", "user,item\n1,2\n")
    with pytest.raises(DataError, match=r"no known layout: it holds a\.csv, b\.csv"):
        expand(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (["User-ID", "ISBN", "Rating"], {"user": "User-ID", "item": "ISBN", "value": "Rating"}),
        (
            ["userId", "movieId", "rating", "timestamp"],
            {"user": "userId", "item": "movieId", "time": "timestamp", "value": "rating"},
        ),
        (["session_id", "user_id", "sku", "event"], {"user": "user_id", "item": "sku", "action": "event"}),
        (["reviewerID", "asin", "unixReviewTime"], {"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}),
        (["CustomerID", "product", "InvoiceNo"], {"user": "CustomerID", "item": "product", "group": "InvoiceNo"}),
    ],
)
def test_usual_names(columns, wanted):
    assert find_roles(columns, {}, "log") == wanted


def test_a_given_column_is_not_taken_twice():
    assert find_roles(["user", "item", "user_id"], {"item": "user"}, "log") == {"user": "user_id", "item": "user"}
    with pytest.raises(DataError, match="given two roles"):
        find_roles(["user", "item"], {"user": "item", "item": "item"}, "log")
    with pytest.raises(DataError, match="can't be 'none'"):
        find_roles(["user", "item"], {"user": "none"}, "log")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"]), "two columns named 'item'"),
        (pd.DataFrame({"user": [1, 2], "item": ["a", 1]}), "the frame can't be read"),
    ],
)
def test_a_pandas_frame_that_polars_refuses(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_source(frame, "events", None, 1)
