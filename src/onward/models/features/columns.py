"""Fitted columns: from values to the codes and numbers that layers read. What `features.json` of a bundle holds.

A column is first *read*: its values become one small array a batch can carry (codes, floats, times or vectors). A layer
then *expands* what was read into codes of embeddings and numbers for a projection.

Legend: n values, P codes a value, Q numbers a value. Code 0 is no code at all; 1 is missing, 2 is unknown: a value that
training didn't have.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from torch import Tensor

from onward.config import Config
from onward.data.dataset import MISSING_TIME
from onward.data.features.kinds import Owner
from onward.models.features.times import CALENDAR, ELAPSED, calendar, time_buckets

MISSING, UNKNOWN, FIRST = 1, 2, 3
"""Codes, and the first that stands for a value."""
LONGEST = 1_000.0
"""A vector with a number beyond this, scaled, is none: of a million training vectors none can be so long, and a single
one that is no number would leave every list without an order."""
MICROSECONDS_A_DAY = 86_400_000_000
CLIP = 4.0
"""Numbers farther from the middle than this, in scales, count as this far."""
Read = NDArray[Any]
Expanded = tuple[Tensor | None, Tensor | None]
"""(n, P) int64 codes and (n, Q) float32 numbers, each None where a kind has none."""


class ColumnBase(Config):
    """One column, fitted on the training part."""

    owner: Owner
    """Whose it is."""
    name: str
    """Its name in the table."""
    key: str
    """Its name among the columns of histories, or among what is known of a history."""
    known_at_request: bool = False
    """Whether it is known of the event to predict when the recommendation is asked for."""

    @property
    def places(self) -> int:
        """P, codes a value."""
        return 0

    @property
    def codes(self) -> int:
        """Different codes, 0 among them; 0 where the kind has none."""
        return 0

    @property
    def numbers(self) -> int:
        """Q, numbers a value."""
        return 0

    @abstractmethod
    def read(self, values: pl.Series) -> Read:
        """What a batch carries of these values; null is missing."""

    @abstractmethod
    def expand(self, read: Tensor) -> Expanded:
        """Codes and numbers of what was read."""

    def unknown(self, values: pl.Series) -> int:
        """Values that say nothing: training didn't have them, or they can't be read."""
        return 0

    def missing(self, size: int) -> Tensor:
        """What is read of (n,) values of which none is known."""
        one = torch.from_numpy(self.read(pl.Series([None])))
        return one.expand(size, *one.shape[1:])

    @property
    def described(self) -> str:
        """One sentence for people: how it is encoded."""
        return f"{self.owner} {self.name}: {self._how()}"

    @abstractmethod
    def _how(self) -> str: ...


class CategoryColumn(ColumnBase):
    """A category, or a set of them: a learned vector a value, the mean of them for a set."""

    kind: Literal["category", "categories"]
    """Kind."""
    vocabulary: list[str] = []
    """Values of the training part, most frequent first; empty where they are hashed."""
    buckets: int = 0
    """Where there are too many values for a vector each: values are hashed into so many."""
    longest: int = Field(1, ge=1)
    """Members of a set that are read, at most, the most frequent first."""

    @property
    def places(self) -> int:
        """As in the base class."""
        return self.longest

    @property
    def codes(self) -> int:
        """As in the base class."""
        return FIRST + (self.buckets or len(self.vocabulary))

    def read(self, values: pl.Series) -> Read:
        """(n, P) int32 codes; a set's are padded with 0."""
        if self.kind == "category":
            return self._coded(values.cast(pl.String)).fill_null(MISSING).to_numpy().astype(np.int32)[:, None]
        return self._sets(members(values))

    def _sets(self, sets: pl.Series) -> Read:
        row = np.repeat(np.arange(len(sets)), sets.list.len().fill_null(0).to_numpy())
        flat = self._coded(sets.explode(empty_as_null=False, keep_nulls=False)).drop_nulls().to_numpy()
        read = np.zeros((len(sets), self.longest), dtype=np.int32)
        order = np.lexsort((flat, row))
        row, flat = row[order], flat[order]
        first = np.searchsorted(row, np.arange(len(sets)))
        place = np.arange(len(row)) - first[row]
        kept = place < self.longest
        read[row[kept], place[kept]] = flat[kept]
        read[read[:, 0] == 0, 0] = MISSING
        return read

    def _coded(self, texts: pl.Series) -> pl.Series:
        """Codes of texts, null where null."""
        if self.buckets:
            distinct = texts.drop_nulls().unique()
            codes = [FIRST + bucket(text, self.buckets) for text in distinct]
        else:
            distinct = pl.Series(self.vocabulary, dtype=pl.String)
            codes = list(range(FIRST, FIRST + len(distinct)))
        found = texts.replace_strict(distinct, codes, default=UNKNOWN, return_dtype=pl.Int32)
        return pl.select(pl.when(texts.is_not_null()).then(found)).to_series()

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return read.long(), None

    def unknown(self, values: pl.Series) -> int:
        """As in the base class."""
        return int((self.read(values) == UNKNOWN).sum())

    def _how(self) -> str:
        what = f"{len(self.vocabulary)} values" if self.vocabulary else f"hashed into {self.buckets}"
        return f"{self.kind}, {what}" + (f", up to {self.longest} a set" if self.kind == "categories" else "")


class NumberColumn(ColumnBase):
    """A number, normalised, then piecewise linear between quantiles (Gorishniy et al., NeurIPS 2022, arXiv:2203.05556).

    A missing one counts as the training median, and has a flag.
    """

    kind: Literal["number"] = "number"
    """Kind."""
    transform: Literal["none", "standard", "log", "quantile"] = "none"
    """`log`: log(1 + x - least) first; `quantile`: its rank among the training values."""
    median: float
    """Of the training values."""
    least: float = 0.0
    """Smallest training value."""
    middle: float = 0.0
    """Mean after the transform."""
    scale: float = Field(1.0, gt=0)
    """Standard deviation after the transform."""
    knots: list[float] = []
    """Training quantiles, for `quantile`."""
    edges: list[float] = []
    """Normalised training quantiles between which the encoding is linear."""

    @property
    def numbers(self) -> int:
        """The normalised number, its place in each interval, and the flag."""
        return 1 + max(0, len(self.edges) - 1) + 1

    def read(self, values: pl.Series) -> Read:
        """(n,) float32 normalised, NaN where missing."""
        return self.normalise(values.cast(pl.Float64).fill_null(np.nan).to_numpy()).astype(np.float32)

    def transformed(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) numbers after the transform; NaN stays."""
        if self.transform == "quantile":
            return np.interp(numbers, self.knots, np.linspace(0.0, 1.0, len(self.knots)))
        return np.log1p(np.maximum(numbers - self.least, 0.0)) if self.transform == "log" else numbers

    def normalise(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) numbers after the transform, in scales from the middle; NaN stays."""
        return np.clip((self.transformed(numbers) - self.middle) / self.scale, -CLIP, CLIP)

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        missing = read.isnan()
        numbers = read.where(~missing, float(self.normalise(np.array([self.median]))[0]))[:, None]
        return None, torch.cat([numbers / CLIP, piecewise(numbers, self.edges), missing[:, None].float()], 1)

    def _how(self) -> str:
        means = {"none": "as it is", "standard": "standardised", "log": "log, standardised", "quantile": "by its rank"}
        return f"number, {means[self.transform]}, {max(0, len(self.edges) - 1)} intervals"


class TimeColumn(ColumnBase):
    """A time: its hour, weekday and month (UTC), each a learned vector.

    The time of the event itself has a further one, for how long after the event before it came. Any other time, such as
    a date of release, is also a number of days, piecewise linear.
    """

    kind: Literal["time"] = "time"
    """Kind."""
    elapsed: bool = False
    """Whether this is the time of the event itself, which has a distance from the one before."""
    edges: list[float] = []
    """Training quantiles in days since 1970 between which the encoding is linear."""

    @property
    def numbers(self) -> int:
        """As in the base class."""
        return max(0, len(self.edges) - 1)

    @property
    def places(self) -> int:
        """As in the base class."""
        return len(CALENDAR) + self.elapsed

    @property
    def codes(self) -> int:
        """As in the base class."""
        return FIRST + sum(CALENDAR) + ELAPSED * self.elapsed

    def read(self, values: pl.Series) -> Read:
        """(n,) int64 microseconds UTC, MISSING_TIME where missing."""
        micro = values if values.dtype == pl.Int64 else values.cast(pl.Datetime("us")).cast(pl.Int64)
        return np.array(micro.fill_null(MISSING_TIME).to_numpy())  # polars shares its own, read-only

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class; what has elapsed isn't known from times alone (`with_elapsed`)."""
        known = (read != MISSING_TIME)[:, None]
        codes = (FIRST + calendar(read)).where(known, MISSING)
        days = (read / MICROSECONDS_A_DAY)[:, None]
        return codes, piecewise(days, self.edges).where(known, 0.0) if self.edges else None

    def with_elapsed(self, read: Tensor, before: Tensor) -> Tensor:
        """(n, P) int64 codes of times that come after others, (n,) int64; MISSING_TIME where there is none before."""
        codes, _ = self.expand(read)
        assert codes is not None
        known = (read != MISSING_TIME) & (before != MISSING_TIME)
        passed = FIRST + sum(CALENDAR) + time_buckets(read - before, ELAPSED)
        return torch.cat([codes, passed.where(known, MISSING)[:, None]], 1)

    def _how(self) -> str:
        return "time: hour, weekday, month" + (", and how long after the event before" if self.elapsed else "")


class VectorColumn(ColumnBase):
    """A vector, or a text that an encoder made one: centred, scaled to a length of about 1, projected."""

    kind: Literal["vector", "text"]
    """Kind."""
    encoder: str = ""
    """For texts: name of the encoder (`onward.text`)."""
    mean: list[float]
    """Of the training values."""
    scale: float = Field(1.0, gt=0)
    """Root of the mean squared length after centring."""

    @property
    def numbers(self) -> int:
        """The vector and a flag where it is missing."""
        return len(self.mean) + 1

    def read(self, values: pl.Series) -> Read:
        """(n, Q) float32; a missing one is zero but for its flag."""
        if not self.encoder and isinstance(values.dtype, pl.List):  # one of another width says nothing
            values = pl.select(pl.when(values.list.len() == len(self.mean)).then(values)).to_series()
        missing = values.is_null().to_numpy()
        vectors = np.zeros((len(values), len(self.mean) + 1), dtype=np.float32)
        if not missing.all():
            given = vectors_of(values.drop_nulls(), self.encoder, refuse=False)
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = (given - np.array(self.mean, dtype=np.float32)) / np.float32(self.scale)
                sound = np.abs(scaled).max(axis=1, initial=0) <= LONGEST
            if self.encoder:  # a text that its encoder can't read is missing too
                sound &= given.any(axis=1)
            vectors[~missing, :-1] = scaled
            missing[~missing] = ~sound
        vectors[missing] = 0.0
        vectors[missing, -1] = 1.0
        return vectors

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return None, read

    def unknown(self, values: pl.Series) -> int:
        """As in the base class; a text in a script that the encoder can't read."""
        if not self.encoder:
            return 0
        from onward.text.encoders import unreadable

        return unreadable(values.cast(pl.String).to_list(), self.encoder)

    def _how(self) -> str:
        made = f" made by '{self.encoder}'" if self.encoder else ""
        return f"{self.kind}, {len(self.mean)} numbers{made}"


class LinksColumn(ColumnBase):
    """The friends of a user, whose recent events a state takes in (`friends.py`); batches carry them beside columns."""

    kind: Literal["links"] = "links"
    """Kind."""
    friends: int = Field(ge=1)
    """Friends of a user who are read, at most, by the strongest links."""
    events: int = Field(ge=1)
    """Events of a friend that are read, at most, the newest."""

    def read(self, values: pl.Series) -> Read:
        """(n, 0): links are no values of a column."""
        return np.zeros((len(values), 0), dtype=np.float32)

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return None, None

    def _how(self) -> str:
        return f"attention over the newest {self.events} events of up to {self.friends} friends"


Column = Annotated[CategoryColumn | NumberColumn | TimeColumn | VectorColumn | LinksColumn, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(list[Column])


def parse_columns(values: Any) -> list[Column]:
    """Fitted columns of plain values. Raises pydantic's ValidationError, which is a ValueError."""
    found: list[Column] = _ADAPTER.validate_python(values)
    return found


def dump_columns(columns: list[Column]) -> list[Mapping[str, Any]]:
    """Plain values of fitted columns."""
    dumped: list[Mapping[str, Any]] = _ADAPTER.dump_python(columns, mode="json")
    return dumped


def piecewise(numbers: Tensor, edges: list[float]) -> Tensor:
    """(n, K - 1) how far (n, 1) numbers are through each interval between K edges, from 0 to 1; (n, 0) without any."""
    if len(edges) < 2:
        return numbers.new_zeros(len(numbers), 0)
    ends = torch.tensor(edges, dtype=torch.float64, device=numbers.device)
    return ((numbers - ends[:-1]) / ends.diff()).clamp_(0, 1).float()


def bucket(text: str, buckets: int) -> int:
    """The bucket of a value, the same on every machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"onward").digest()
    return int.from_bytes(digest, "big") % buckets


def members(values: pl.Series) -> pl.Series:
    """Sets as List(String) without empty or missing members; a text is split at `|`, or else at spaces."""
    if not isinstance(values.dtype, pl.List):
        text = values.cast(pl.String)
        at = "|" if text.str.contains("|", literal=True).any() else " "
        values = text.str.split(at)
    return values.cast(pl.List(pl.String)).list.eval(
        pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))
    )


def encoder_for(texts: pl.Series) -> tuple[str, str]:
    """Name of the encoder that fits a column of texts, and why it was chosen."""
    from onward.text.encoders import text_encoder_for

    return text_encoder_for(texts.drop_nulls().cast(pl.String).to_list())


def vectors_of(values: pl.Series, encoder: str, refuse: bool = True) -> NDArray[np.float32]:
    """(n, d) float32 of a column without nulls: lists of numbers, or texts with the encoder's name.

    `refuse`: whether texts that the encoder mostly can't read are an error; else such a text is a row of zeros.
    """
    if not encoder:
        flat = values.explode(empty_as_null=False, keep_nulls=False).cast(pl.Float32).to_numpy()
        return flat.reshape(len(values), -1)
    from onward.text.encoders import encode_texts

    made: NDArray[np.float32] = encode_texts(values.cast(pl.String).to_list(), encoder, refuse=refuse)
    return made
