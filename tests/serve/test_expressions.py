"""Expressions over item features: what they mean, and where a bad one goes wrong."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.errors import ExpressionError
from onward.serve.lists.expressions import MAX_DEPTH, matching, parse

FRAME = pl.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "genre": [["Comedy", "Drama"], ["Horror"], None, []],
        "price": [1.5, 25.0, None, 19.0],
        "kind": ["Sci-Fi film", "book", None, "Book"],
        "stock": [True, False, None, True],
        "pages": [1, 2, 3, None],
        "added": [dt.date(2020, 1, 1), dt.date(2021, 1, 1), None, dt.date(2022, 1, 1)],
        "at": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None, None, None],
        "odd name": [1.0, 2.0, 3.0, 4.0],
    }
)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ('genre = "Comedy" and price < 20', "a"),
        ('genre = "comedy"', "a"),
        ('class = "horror"', "b"),  # another name for the same feature, as in --only
        ('genre in ("horror", "drama")', "ab"),
        ('genre != "x"', "abd"),
        ("genre is missing", "c"),
        ("price is not missing", "abd"),
        ("price in (1.5, 19)", "ad"),
        ("pages not in (1, 2)", "c"),
        ('kind = "book"', "bd"),
        ('kind = "film"', "a"),
        ('kind != "book"', "a"),
        ('kind >= "b"', "b"),
        ("stock = true", "ad"),
        ("stock != true", "b"),
        ('added > "2020-06-01"', "bd"),
        ('at < "2021-01-01T00:00:00+02:00"', "a"),
        ("at <= '2020-01-01'", "a"),
        ("`odd name` >= 3", "cd"),
        ("pages = 1.5", ""),
        ("price > -1e3 and price<=+1.5", "a"),
        ('item = "a" or item = "b" and price < 2', "a"),
        ('(item = "a" or item = "b") and price > 2', "b"),
        ("not (price < 20 or pages = 3)", "b"),
        ("NOT price < 20 AND Pages IS NOT MISSING", "b"),
        ("not not price < 20", "ad"),
        (r'item = "\"" or item = "\a"', "a"),
    ],
)
def test_which_items_meet_an_expression(text: str, met: str) -> None:
    rows = matching(parse(text), FRAME)
    assert "".join(FRAME["item"].filter(pl.Series(rows))) == met


@pytest.mark.parametrize("text", ["price < 20", "stock = true", 'kind = "book"', "pages in (1, 3)", 'genre = "drama"'])
def test_a_missing_value_meets_neither_a_condition_nor_its_opposite(text: str) -> None:
    name = text.split()[0]
    missing = FRAME[name].is_null().to_numpy()
    assert not (matching(parse(text), FRAME) & missing).any()
    assert not (matching(parse(f"not ({text})"), FRAME) & missing).any()
    assert ((matching(parse(text), FRAME) | matching(parse(f"not ({text})"), FRAME)) == ~missing).all()


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 1, "name of an item feature"),
        ("price", 6, "comparison"),
        ("price =", 8, "a value"),
        ("price < ,", 9, "a value"),
        ('price < "a"', 9, "compared with a number, not with 'a'"),
        ("stock = 1", 9, "compared with true or false, not with 1"),
        ('item = "a" and kind = 3', 23, "compared with text"),
        ('genre < "a"', 1, "several values"),
        ("stock < true", 1, "true or false"),
        ("prise < 3", 1, "unknown item feature 'prise'; did you mean 'price'?"),
        ("price < 3 and", 14, "name of an item feature"),
        ("price < 3 price", 11, "'and', 'or' or the end"),
        ("price < 3)", 10, "'and', 'or' or the end"),
        ("(price < 3", 11, "')' is expected and it ends"),
        ("price $ 3", 7, "'$' has no meaning"),
        ("price ; drop", 7, "';' has no meaning"),
        ("__import__('os')", 11, "comparison"),
        ("price < (1)", 9, "a value"),
        ('kind = "abc', 8, "never closed"),
        ("price = 3x", 9, "no meaning"),
        ('added > "soon"', 9, "no date"),
        ("price in ()", 11, "a value"),
        ("price in (1", 12, "')' is expected"),
        ("price is 3", 10, "'missing' is expected"),
        ("price not 3", 11, "'in' is expected"),
        ("not", 4, "name of an item feature"),
        ("(" * (MAX_DEPTH + 1) + "price < 1", MAX_DEPTH + 1, "within each other"),
        ("not " * (MAX_DEPTH + 1) + "price < 1", 4 * MAX_DEPTH + 1, "within each other"),
    ],
)
def test_a_bad_expression_says_at_which_character(text: str, position: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        matching(parse(text), FRAME)
    assert caught.value.position == position
    assert said in caught.value.message
    assert f"at character {position} of the expression" in caught.value.message


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="price<=>'\"()notandr ,.0123`genre", max_size=60))
def test_no_text_gives_anything_but_an_answer_or_an_expression_error(text: str) -> None:
    position = 1
    try:
        assert matching(parse(text), FRAME).shape == (4,)
    except ExpressionError as error:
        position = error.position
    assert 1 <= position <= len(text) + 1
