"""Names typed by people: titles with commas, quotes, years, near misses; the catalog's conditions."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.data.catalog import Catalog
from onward.data.names import find_items
from onward.errors import ConfigError

FILMS = Catalog(
    pl.DataFrame(
        {
            "item": ["10", "20", "30", "40", "50", "a, b"],
            "movie_title": [
                "Toy Story",
                "Godfather, The",
                "Godfather",
                "Good, the Bad, and the Ugly, The",
                None,
                'Say "Hi"',
            ],
            "release_year": ["1995", "1972", "1991", "1966", "2000", None],
            "class": [["Comedy", "Animation"], ["Crime"], ["Drama"], ["Western", "Sci-Fi"], None, ["Comedy"]],
            "country": ["us", "us", "United Kingdom", "it", None, "us"],
        }
    )
)


def found(text: str) -> list[str]:
    return [FILMS.id(index) for index in find_items(text, FILMS).indices]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("10, 30", ["10", "30"]),
        ("Toy Story (1995), 30", ["10", "30"]),
        ("toy story,TOY STORY (1995)", ["10", "10"]),
        ("Godfather, The (1972), Toy Story", ["20", "10"]),
        ("Godfather, The, Toy Story", ["20", "10"]),
        ("Godfather, Toy Story", ["30", "10"]),
        ("Good, the Bad, and the Ugly, The (1966), Godfather", ["40", "30"]),
        ('"Godfather, The", "10"', ["20", "10"]),
        ('"Toy Story (1995)","30"', ["10", "30"]),
        ("a, b, 10", ["a, b", "10"]),
        ('Say "Hi", 10', ["a, b", "10"]),
        ("50 (2000)", ["50"]),
        (" , ,10,, ", ["10"]),
        ("", []),
    ],
)
def test_a_line_of_names(text: str, ids: list[str]) -> None:
    named = find_items(text, FILMS)
    assert [FILMS.id(index) for index in named.indices] == ids
    assert named.unknown == []


def test_unknown_names_are_left_out_and_the_nearest_offered() -> None:
    named = find_items('Toy Stroy, "no, such", 10, Godfathr', FILMS)
    assert [FILMS.id(index) for index in named.indices] == ["10"]
    assert named.unknown == ["Toy Stroy", "no, such", "Godfathr"]
    first, second, third = named.notes(FILMS)
    assert first == "'Toy Stroy' is not in the catalog, so it is ignored; did you mean 'Toy Story (1995)'?"
    assert second == "'no, such' is not in the catalog, so it is ignored"
    assert "'Godfather, The (1972)'" in third


def test_only_the_first_unknown_names_are_searched_for() -> None:
    notes = find_items(["Toy Stroy"] * 7, FILMS).notes(FILMS)
    assert ["did you mean" in note for note in notes] == [True] * 5 + [False] * 2


def test_a_list_takes_each_name_whole() -> None:
    named = find_items(["Godfather, The (1972)", 10, "x"], FILMS)
    assert [FILMS.id(index) for index in named.indices] == ["20", "10"]
    assert named.unknown == ["x"]


@given(st.lists(st.sampled_from(range(6)), max_size=6), st.booleans())
def test_a_line_made_of_titles_is_read_back(rows: list[int], quoted: bool) -> None:
    # quoted, any title is safe; without quotes only those that don't run together with the next
    rows = rows if quoted else [row for row in rows if row != 2]
    titles = [FILMS.title(row + 1) for row in rows]
    text = ",".join(f'"{title}"' if quoted else title for title in titles)
    assert find_items(text, FILMS).indices == [row + 1 for row in rows]


@given(st.text(alphabet='ab10, "', max_size=12))
def test_no_text_is_an_error(text: str) -> None:
    named = find_items(text, FILMS)
    assert all(1 <= index <= 6 for index in named.indices)
    assert len(named.notes(FILMS)) == len(named.unknown)


def test_titles_have_the_year_once() -> None:
    catalog = Catalog(pl.DataFrame({"item": ["1", "2"], "title": ["A (1990)", "B"], "year": [1990, 1991]}))
    assert catalog.titles == ["A (1990)", "B (1991)"]


def ids_matching(*conditions: str) -> list[str]:
    mask = FILMS.matching(conditions)
    assert not mask[0]
    return [FILMS.id(index) for index in range(1, 7) if mask[index]]


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ((), ["10", "20", "30", "40", "50", "a, b"]),
        (("class=Comedy",), ["10", "a, b"]),
        (("genre=comedy",), ["10", "a, b"]),  # MovieLens' atomic files call it class
        (("genre = Sci-Fi",), ["40"]),
        (("genre=comedy", "release_year=1995"), ["10"]),
        (("genre=comedy", "genre=animation"), ["10"]),
        (("genre=comedy", "genre=crime"), []),
        (("country=kingdom",), ["30"]),
        (("country=united kingdom",), ["30"]),
        (("item=a, b",), ["a, b"]),
    ],
)
def test_conditions(conditions: tuple[str, ...], ids: list[str]) -> None:
    assert ids_matching(*conditions) == ids


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("gnere=Comedy", "unknown item column 'gnere'; did you mean 'genre'?"),
        ("clas=Comedy", "did you mean 'class'?"),
        ("Comedy", "'Comedy' is not of the form column=value"),
        ("genre=Comdey", "no item has genre = 'Comdey'"),
    ],
)
def test_a_bad_condition_names_the_nearest(condition: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FILMS.matching([condition])
    assert message in caught.value.message


def test_a_value_that_no_item_has_suggests_one() -> None:
    with pytest.raises(ConfigError) as caught:
        FILMS.matching(["genre=Comdey"])
    assert caught.value.hint == "did you mean 'Comedy'?"
