"""Conditions over item features, as rules have them: `genre = "Comedy" and price < 20`.

::

    expression  = conjunction { "or" conjunction }
    conjunction = factor { "and" factor }
    factor      = "not" factor | "(" expression ")" | condition
    condition   = feature ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
                | feature ["not"] "in" "(" value { "," value } ")"
                | feature "is" ["not"] "missing"
    value       = "text" | 'text' | number | true | false
    feature     = name | `any name`

Text is equal whatever its letter case, and to a value of several words or members when it is one of them, as in
`onward recommend --only`. A missing value meets neither a condition nor its opposite, only `is missing`. An expression
becomes one polars expression over the whole catalog; nothing in it is ever executed as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.catalog import SAME_COLUMN
from onward.errors import ExpressionError, unknown

Value = str | float | bool
MAX_DEPTH = 50
"""Brackets and `not`s within each other, at most."""
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<name>[^\W\d]\w*)
      | (?P<sign><=|>=|!=|==|=|<|>|\(|\)|,)""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = ("and", "or", "not", "in", "is", "missing", "true", "false")
_COMPARE: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
}


class _Token(NamedTuple):
    kind: str  # number, text, feature, word, sign or end
    text: str
    position: int  # from 1


@dataclass(frozen=True)
class Condition:
    """One feature against some values; `sign` is `in` (equal to one of them), `missing`, or a comparison."""

    feature: _Token
    sign: str
    values: tuple[tuple[Value, int], ...]


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Expression


@dataclass(frozen=True)
class Both:
    """All parts (`and`), or one of them (`or`)."""

    word: str
    parts: tuple[Expression, ...]


Expression = Condition | Not | Both


def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError that says at which character it goes wrong."""
    return _Parser(text).whole()


def matching(expression: Expression, frame: pl.DataFrame) -> NDArray[np.bool_]:
    """(rows,) bool: which rows of a catalog meet an expression.

    Raises ExpressionError for a feature that the catalog hasn't, or a value of another kind than the feature's.
    """
    found = frame.select(_build(expression, frame).fill_null(False).alias("met"))["met"]
    return np.broadcast_to(found.to_numpy(), frame.height)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression:
        found = self._chain("or")
        if self._next.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> bool:
        if self._next.kind in ("word", "sign") and self._next.text in texts:
            self._at += 1
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._expected(repr(text))

    def _expected(self, what: str) -> ExpressionError:
        found = "it ends" if self._next.kind == "end" else f"there is {self._next.text!r}"
        return ExpressionError(f"{what} is expected and {found}", self._next.position)

    def _chain(self, word: str) -> Expression:
        parts = [self._inner(word)]
        while self._take(word):
            parts.append(self._inner(word))
        return parts[0] if len(parts) == 1 else Both(word, tuple(parts))

    def _inner(self, word: str) -> Expression:
        return self._chain("and") if word == "or" else self._factor()

    def _factor(self) -> Expression:
        position = self._next.position
        if not self._take("not", "("):
            return self._condition()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"more than {MAX_DEPTH} brackets and 'not's lie within each other", position)
        if self._tokens[self._at - 1].text == "not":
            found: Expression = Not(self._factor())
        else:
            found = self._chain("or")
            self._need(")")
        self._depth -= 1
        return found

    def _condition(self) -> Expression:
        feature = self._next
        if feature.kind != "feature":
            raise self._expected("the name of an item feature")
        self._at += 1
        if self._take("is"):
            opposite = self._take("not")
            self._need("missing")
            condition: Expression = Condition(feature, "missing", ())
            return Not(condition) if opposite else condition
        if self._take("not"):
            self._need("in")
            return Not(Condition(feature, "in", self._several()))
        if self._take("in"):
            return Condition(feature, "in", self._several())
        sign = self._next.text
        if not self._take("=", "==", "!=", *_COMPARE):
            raise self._expected("a comparison (=, !=, <, <=, >, >=), 'in' or 'is'")
        values = (self._value(),)
        if sign == "!=":
            return Not(Condition(feature, "in", values))
        return Condition(feature, "in" if sign in ("=", "==") else sign, values)

    def _several(self) -> tuple[tuple[Value, int], ...]:
        self._need("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._need(")")
        return tuple(values)

    def _value(self) -> tuple[Value, int]:
        kind, text, position = self._next
        if kind == "text":
            value: Value = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        elif kind == "number":
            value = float(text)
        elif kind == "word" and text in ("true", "false"):
            value = text == "true"
        else:
            raise self._expected('a value (a number, "text", true or false)')
        self._at += 1
        return value, position


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            open_quote = text[at] in "\"'`"
            problem = "a quote is never closed" if open_quote else f"{text[at]!r} has no meaning here"
            raise ExpressionError(problem, at + 1)
        kind, token = str(found.lastgroup), found.group()
        if kind == "name":
            kind = "word" if token.lower() in _WORDS else "feature"
            token = token.lower() if kind == "word" else token
        if kind != "space":
            yield _Token("feature" if kind == "quoted" else kind, token.strip("`"), at + 1)
        at = found.end()
    yield _Token("end", "", len(text) + 1)


def _build(expression: Expression, frame: pl.DataFrame) -> pl.Expr:
    if isinstance(expression, Not):
        return ~_build(expression.part, frame)
    if isinstance(expression, Both):
        parts = [_build(part, frame) for part in expression.parts]
        return pl.all_horizontal(parts) if expression.word == "and" else pl.any_horizontal(parts)
    return _condition(expression, frame)


def _condition(condition: Condition, frame: pl.DataFrame) -> pl.Expr:
    name = _column(condition.feature, frame)
    dtype, column = frame.schema[name], pl.col(name)
    if condition.sign == "missing":
        return column.is_null()
    literals = [_literal(value, position, name, dtype) for value, position in condition.values]
    if condition.sign != "in":
        position = condition.feature.position
        if isinstance(dtype, pl.List) or dtype == pl.Boolean:
            kind = "several values" if isinstance(dtype, pl.List) else "true or false"
            raise ExpressionError(f"'{name}' has {kind}, which only =, != and in compare", position)
        return _COMPARE[condition.sign](column, literals[0])
    if isinstance(dtype, pl.List) or dtype == pl.String:
        return _is_member(column, dtype, [str(value) for value, _ in condition.values])
    return pl.any_horizontal([column == literal for literal in literals])


def _is_member(column: pl.Expr, dtype: pl.DataType, wanted: list[str]) -> pl.Expr:
    values = pl.Series([text.lower() for text in wanted], dtype=pl.String).implode()
    if isinstance(dtype, pl.List):
        lower = column.list.eval(pl.element().cast(pl.String).str.to_lowercase())
        return lower.list.eval(pl.element().is_in(values)).list.any()
    lower = column.str.to_lowercase()
    return lower.is_in(values) | lower.str.split(" ").list.eval(pl.element().is_in(values)).list.any()


def _literal(value: Value, position: int, name: str, dtype: pl.DataType) -> pl.Expr:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if inner == pl.Boolean:
        wanted, fits = "true or false", isinstance(value, bool)
    elif inner.is_numeric():
        wanted, fits = "a number", isinstance(value, float)
    else:
        wanted, fits = "text in quotes", isinstance(value, str)
    if not fits:
        raise ExpressionError(f"'{name}' is compared with {wanted}, not with {_shown(value)}", position)
    if isinstance(inner, pl.Date | pl.Datetime):
        return _moment(str(value), position, inner)
    return pl.lit(value)


def _moment(text: str, position: int, dtype: pl.Date | pl.Datetime) -> pl.Expr:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ExpressionError(f"{text!r} is no date", position, "for example '2026-01-31'") from None
    if isinstance(dtype, pl.Date):
        return pl.lit(moment.date())
    if dtype.time_zone is None:
        return pl.lit(moment.replace(tzinfo=None))
    return pl.lit(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else repr(value)


def _column(feature: _Token, frame: pl.DataFrame) -> str:
    """The column of this name, or of another that means the same."""
    same: tuple[str, ...] = next((names for names in SAME_COLUMN if feature.text.lower() in names), ())
    for candidate in (feature.text, feature.text.lower(), *same):
        if candidate in frame.columns:
            return candidate
    raise ExpressionError(unknown("item feature", feature.text, frame.columns), feature.position)
