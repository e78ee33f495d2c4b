"""Bad input to `onward prepare` and to what reads a dataset: exit code 2, a clear message, nothing half written.

Input that only looks bad (huge ids, odd characters, one event) is shown to work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from onward.cli.main import main
from onward.data.dataset import Dataset, open_dataset
from small_disks import WHY, Refusal, check_refused

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `onward prepare INPUT -o out ...`, expects refusal, and gives what was said."""

    def run(source: Path, *options: str, more: tuple[Path, ...] = ()) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["prepare", str(source), *map(str, more), "-o", str(tmp_path / "out"), *options]) == 2
        assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
        captured = capsys.readouterr()
        assert captured.out == ""
        said = " ".join(captured.err.split())
        assert said.startswith("error: ")
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Dataset]:
    """Runs `onward prepare` on a text or a frame, expects success, and opens the dataset."""

    def run(source: str | pl.DataFrame, *options: str) -> Dataset:
        path = log(tmp_path, source)
        assert main(["prepare", str(path), "-o", str(tmp_path / "out"), *options]) == 0
        return open_dataset(tmp_path / "out")

    return run


def log(folder: Path, content: str | bytes | pl.DataFrame) -> Path:
    if isinstance(content, pl.DataFrame):
        content.write_parquet(folder / "log.parquet")
        return folder / "log.parquet"
    (folder / "log.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "log.csv"


def items_of(dataset: Dataset, user: str) -> list[str]:
    data, row = dataset.histories, dataset.users["user"].to_list().index(user)
    return [dataset.catalog.id(int(item)) for item in data.item[data.start[row] : data.end[row]]]


# files


def test_missing_file(tmp_path, refused):
    assert f"no such file: {tmp_path / 'none.csv'}" in refused(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet", "log.jsonl", "log.arrow"])
def test_empty_file(tmp_path, refused, name):
    (tmp_path / name).write_bytes(b"")
    assert f"{name} is empty" in refused(tmp_path / name)


def test_header_only(tmp_path, refused):
    assert "the input has no rows" in refused(log(tmp_path, "user,item,time\n"))


def test_empty_folder(tmp_path, refused):
    (tmp_path / "folder").mkdir()
    assert "it holds no table" in refused(tmp_path / "folder")


def test_truncated_parquet(tmp_path, refused):
    path = log(tmp_path, pl.DataFrame({"user": range(1000), "item": range(1000)}))
    path.write_bytes(path.read_bytes()[:-500])
    said = refused(path)
    assert "log.parquet can't be read" in said
    assert "is the file complete" in said


@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz", "log.zip", "log.arrow"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, refused, name):
    (tmp_path / name).write_bytes(b"user,item\n1,2\n" * 20)
    assert name in refused(tmp_path / name)


def test_truncated_gzip(tmp_path, refused):
    import gzip

    whole = gzip.compress(os.urandom(300_000).hex().encode())
    (tmp_path / "log.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "log.csv.gz" in refused(tmp_path / "log.csv.gz", "--user", "x", "--item", "y")


@pytest.mark.parametrize("rows_before", [1, 20_000])
def test_a_file_that_is_not_utf8(tmp_path, refused, rows_before):
    body = b"user,item\n" + b"1,tea\n" * rows_before + b"2,caf\xe9\n"
    said = refused(log(tmp_path, body))
    assert f"is not UTF-8 text: line {rows_before + 2}, byte 0xe9" in said
    assert "iconv" in said


def test_rows_that_do_not_fit_the_header(tmp_path, refused):
    said = refused(log(tmp_path, "user,item\n1,2\n3,4,5\n"))
    assert "a row doesn't fit the 2 columns" in said


def test_two_columns_of_one_name(tmp_path, refused):
    assert "two columns named 'user'" in refused(log(tmp_path, "user,user,item\n1,2,3\n"))


def test_broken_json(tmp_path, refused):
    (tmp_path / "log.jsonl").write_text('{"user": 1, "item": 2}\n{"user": 1, \n')
    assert "log.jsonl is not sound JSON lines: line 2" in refused(tmp_path / "log.jsonl")
    (tmp_path / "log.jsonl").write_text('[{"user": 1, "item": 2}]')
    assert "is one JSON array" in refused(tmp_path / "log.jsonl")


# columns


def test_no_such_column_suggests_the_nearest(tmp_path, refused):
    said = refused(log(tmp_path, "customer,sku\n1,2\n"), "--user", "custmer")
    assert "log.csv: unknown column 'custmer'; did you mean 'customer'? known: customer, sku" in said


def test_no_column_for_the_item(tmp_path, refused):
    said = refused(log(tmp_path, "user,colour\n1,2\n"))
    assert "no column for the item among 'user', 'colour'" in said
    assert "--item COLUMN" in said


def test_a_second_file_that_lacks_a_column(tmp_path, refused):
    (tmp_path / "more.csv").write_text("user,sku\n1,2\n")
    said = refused(log(tmp_path, "user,item\n1,2\n"), more=(tmp_path / "more.csv",))
    assert "more.csv: unknown column 'item'" in said


@pytest.mark.parametrize(
    ("role", "values", "words"),
    [
        ("user", [[1]], "which can't be an id"),
        ("item", [True], "which can't be an id"),
        ("time", [[1]], "which can't be a time"),
        ("value", [[1]], "which can't be a value"),
        ("action", [1.5], "a float is not an id"),
    ],
)
def test_a_column_of_the_wrong_type(tmp_path, refused, role, values, words):
    columns = {"user": ["u"], "item": ["a"], "time": [1], "value": [1.0], "action": ["view"], role: values}
    said = refused(log(tmp_path, pl.DataFrame(columns)))
    assert f"column '{role}'" in said
    assert words in said


def test_a_text_column_as_value(tmp_path, refused):
    said = refused(log(tmp_path, "user,item,value\n1,2,good\n"))
    assert "1 × unreadable value (log.csv row 1: 'good')" in said


@pytest.mark.parametrize("values", [[42.0, 7.0], [42.0, None]])
def test_float_ids(tmp_path, refused, values):
    said = refused(log(tmp_path, pl.DataFrame({"user": values, "item": ["a", "b"]})))
    assert "column 'user' holds floats (Float64), and a float is not an id" in said
    assert "42.0 is a whole number that something upstream turned into a float" in said


@pytest.mark.parametrize("text", ["42.0", "1e+05"])
def test_float_ids_in_text(tmp_path, refused, text):
    said = refused(log(tmp_path, f"user,item\nu,{text}\n"))
    assert f"1 × item is a float (log.csv row 1: '{text}')" in said
    assert "write ids as integers" in said


def test_float_ids_in_json(tmp_path, refused):
    (tmp_path / "log.jsonl").write_text('{"user": 1, "item": 2}\n{"user": 42.0, "item": 2}\n')
    assert "column 'user' holds floats" in refused(tmp_path / "log.jsonl")


# rows


@pytest.mark.parametrize("role", ["user", "item", "time"])
def test_null_user_item_or_time(tmp_path, refused, role):
    row = {"user": "u", "item": "a", "time": "2024-01-01"}
    said = refused(log(tmp_path, "user,item,time\n" + ",".join({**row, role: ""}.values()) + "\n"))
    assert f"1 of 1 rows (100.0%) can't be used: 1 × missing {role} (log.csv row 1)" in said
    said = refused(log(tmp_path, pl.DataFrame([row, {**row, role: None}])))
    assert f"1 of 2 rows (50.0%) can't be used: 1 × missing {role} (log.parquet row 2)" in said
    assert "--allow-rejected" in said


def test_unreadable_times(tmp_path, refused):
    said = refused(log(tmp_path, "user,item,time\n1,2,yesterday\n1,3,2024-01-01\n"))
    assert "1 × unreadable time (log.csv row 1: 'yesterday')" in said
    assert "times are ISO texts" in said


def test_times_in_mixed_units(tmp_path, refused):
    said = refused(log(tmp_path, "user,item,time\n1,2,1700000000\n1,3,1700000000000\n1,4,1700000001\n"))
    assert "2 like seconds, first log.csv row 1 ('1700000000')" in said
    assert "1 like milliseconds, first log.csv row 2 ('1700000000000')" in said
    assert "--time-unit" in said


def test_duplicate_rows_where_they_are_an_error(tmp_path, refused):
    path = log(tmp_path, "user,item,time\nu,a,2024-01-01\nu,b,2024-01-01\nu,a,2024-01-01\n")
    said = refused(path, "--duplicates", "error")
    assert "user 'u' has item 'a' more than once at 2024-01-01 00:00:00 UTC" in said
    assert "--duplicates keep, first or last" in said


def test_duplicate_rows_are_kept_and_counted(prepared):
    dataset = prepared("user,item,time\nu,a,2024-01-01\nu,a,2024-01-01\n")
    assert (dataset.manifest.events, dataset.manifest.duplicate_rows) == (2, 1)


def test_an_unknown_option(tmp_path, refused, capsys):
    path = log(tmp_path, "user,item\n1,2\n")
    assert main(["prepare", str(path), "-o", str(tmp_path / "out"), "--min-length", "0"]) == 2
    assert "min_length = 0" in capsys.readouterr().err
    assert main(["prepare", str(path), "-o", str(tmp_path / "out"), "--time-unit", "weeks"]) == 2
    assert not (tmp_path / "out").exists()


def test_an_error_as_json(tmp_path, capsys):
    assert main(["prepare", str(tmp_path / "none.csv"), "-o", str(tmp_path / "out"), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "data"
    assert error["message"] == f"no such file: {tmp_path / 'none.csv'}"


# what only looks bad


def test_a_user_with_one_event_and_one_item_only(prepared):
    dataset = prepared("user,item,time\nu,a,2024-01-01\n")
    assert (dataset.manifest.users, dataset.manifest.items, dataset.manifest.events) == (1, 1, 1)


HUGE = [2147483648, 9223372036854775807, 9223372036854775808, 18446744073709551615]


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.String])
def test_huge_ids_as_numbers_and_as_texts(prepared, dtype):
    ids = pl.Series(HUGE, dtype=pl.UInt64).cast(dtype)
    dataset = prepared(pl.DataFrame({"user": ids, "item": ids}))
    assert dataset.catalog.ids == sorted(map(str, HUGE))
    assert items_of(dataset, "9223372036854775808") == ["9223372036854775808"]


@pytest.mark.parametrize("quote", ["", '"'])
def test_huge_ids_in_csv(prepared, quote):
    rows = "".join(f"{quote}{number}{quote},{quote}{number}{quote}\n" for number in HUGE)
    assert prepared("user,item\n" + rows).catalog.ids == sorted(map(str, HUGE))


def test_huge_ids_in_json(tmp_path):
    rows = "".join(json.dumps({"user": number, "item": str(number)}) + "\n" for number in HUGE)
    (tmp_path / "log.jsonl").write_text(rows)
    assert main(["prepare", str(tmp_path / "log.jsonl"), "-o", str(tmp_path / "out")]) == 0
    assert open_dataset(tmp_path / "out").users["user"].to_list() == sorted(map(str, HUGE))


ODD = ["a,b", 'say "hi"', "two\nlines", "tab\there", "😀👩‍👩‍👧", "naïve café", "007", " padded ", "null", "-1"]


def test_ids_with_commas_quotes_newlines_and_emoji(prepared):
    frame = pl.DataFrame({"user": ODD, "item": ODD})
    dataset = prepared(frame.write_csv(), "--json")
    assert dataset.users["user"].to_list() == sorted(ODD, key=str.encode)
    for name in ODD:
        assert items_of(dataset, name) == [name]


# where to write


def test_an_output_folder_that_exists(tmp_path, refused):
    path = log(tmp_path, "user,item\n1,2\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "already exists" in refused(path)
    assert "is not a folder that onward wrote" in refused(path, "--overwrite")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_an_output_that_is_a_file_or_inside_one(tmp_path, refused):
    path = log(tmp_path, "user,item\n1,2\n")
    (tmp_path / "out").write_text("mine")
    assert "already exists" in refused(path)
    assert "is a file, not a folder" in refused(path, "--overwrite")
    assert main(["prepare", str(path), "-o", str(tmp_path / "out" / "inside")]) == 2


def test_a_failure_leaves_the_old_dataset_alone(tmp_path, prepared, capsys):
    dataset = prepared("user,item\n1,2\n")
    bad = tmp_path / "bad.csv"
    bad.write_text("user,item\n1,\n")
    assert main(["prepare", str(bad), "-o", str(dataset.path), "--overwrite"]) == 2
    assert open_dataset(dataset.path).manifest == dataset.manifest


@pytest.mark.usefixtures("small_disks")
def test_full_and_read_only_disks(tmp_path):
    refusals = []
    for rows in (30_000, 90_000):  # the tables don't fit; the first pass doesn't fit
        path = tmp_path / f"log-{rows}.parquet"
        pl.DataFrame({"user": range(rows), "item": range(rows), "time": range(rows)}).write_parquet(path)
        refusals += [Refusal(tmp_path / f"{kind}-{rows}", 300, kind, ["prepare", str(path)], "out") for kind in WHY]
    check_refused(refusals)


# a dataset folder that isn't sound


@pytest.mark.parametrize("command", [["data", "describe"], ["data", "audit"]])
def test_a_flipped_byte(prepared, capsys, command):
    dataset = prepared("user,item,time\nu,a,2024-01-01\nu,b,2024-01-02\n")
    file = dataset.segment / "events" / "item.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert main([*command, str(dataset.path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is damaged: segments/000000/events/item.npy does not match its recorded hash" in said


def test_other_unsound_folders(tmp_path, prepared, capsys):
    dataset = prepared("user,item\nu,a\n")
    manifest = dataset.path / "dataset.toml"
    text = manifest.read_text()

    def said(content: str) -> str:
        manifest.write_text(content)
        assert main(["data", "describe", str(dataset.path)]) == 2
        return " ".join(capsys.readouterr().err.split())

    capsys.readouterr()
    assert "newer than onward.dataset/1" in said(text.replace("onward.dataset/1", "onward.dataset/2"))
    assert "is not valid TOML" in said(text[: len(text) // 2] + "\n= =")
    assert "events = 'many'" in said(text.replace("events = 1", 'events = "many"'))
    (dataset.segment / "users.parquet").unlink()
    assert "users.parquet is missing" in said(text)
    assert main(["data", "describe", str(tmp_path)]) == 2
    assert "is not a dataset folder" in capsys.readouterr().err


def test_a_field_that_a_later_writer_added_is_passed_over(prepared):
    dataset = prepared("user,item\nu,a\n")
    manifest = dataset.path / "dataset.toml"
    manifest.write_text('colour = "red"\n' + manifest.read_text())
    assert main(["data", "describe", str(dataset.path)]) == 0
