"""`onward predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.payload import Payload

SHOWN = 20
"""Pairs that are printed."""


class PredictedPair(Payload):
    """The interest of one user in one item."""

    user: str
    """The user."""
    item: str
    """The item."""
    interest: float | None
    """Expected interest in [0, 1]; null for an item that training never saw."""
    value: float | None = None
    """The same in units of the value column; null where the model learned none."""


class Predictions(Payload):
    """What `onward predict --json` prints."""

    format: Literal["onward.predictions/1"] = "onward.predictions/1"
    """Format and version."""
    file: str | None
    """The file that was written; null where the pairs are here."""
    rows: int
    """Pairs."""
    pairs: list[PredictedPair]
    """The pairs, in the order given; empty where a file was written."""
    notes: list[str]
    """What a reader should know about them."""


def predict(
    model: Annotated[Path, Parameter(help="A run folder, or a bundle.")],
    /,
    *,
    pairs: Annotated[Path | None, Parameter(help="CSV or Parquet file with the columns user and item.")] = None,
    user: Annotated[str | None, Parameter(help="A user of the dataset; with --items.")] = None,
    items: Annotated[str | None, Parameter(help="Ids of items, with commas between.")] = None,
    dataset: Annotated[
        Path | None, Parameter(help="Where users are looked up. [default: the dataset of the training]")
    ] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="CSV or Parquet file to write.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace that file.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Predict how much users will like items: interest in [0, 1], and in units of the value column.

    Needs a model that learned interest: biased-mf, or a sequence model with model.loss=mse or model.interest=mse.

    Example: onward predict runs/lstm-mse --user 42 --items 1,50,181
    """
    from onward.errors import ConfigError
    from onward.predict import pairs_of, read_pairs
    from onward.predict import predict as library

    if (pairs is None) == (user is None) or (user is None) != (items is None):
        raise ConfigError("predict for whom? give --pairs FILE, or --user with --items")
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: predictions are written as .csv or .parquet")
    if pairs is not None:
        table = read_pairs(pairs)
    else:
        table = pairs_of(user or "", [one.strip() for one in (items or "").split(",") if one.strip()])
    found, notes = library(model, table, dataset)
    if out is not None:
        from onward.files import atomic_file

        with atomic_file(out, overwrite) as new:
            if out.suffix == ".parquet":
                found.write_parquet(new)
            else:
                found.write_csv(new)
    listed = [PredictedPair(**row) for row in found.to_dicts()] if out is None else []
    file = None if out is None else str(out)
    payload = Predictions(file=file, rows=found.height, pairs=listed, notes=notes)
    emit(payload, as_json, lambda: _print(payload))


def _print(made: Predictions) -> None:
    from rich.table import Table

    if made.file is not None:
        print(f"{made.rows:,} predictions: {made.file}")
    else:
        table = Table("user", "item", "interest", "value", box=None)
        for one in made.pairs[:SHOWN]:
            numbers = ("" if number is None else f"{number:.3f}" for number in (one.interest, one.value))
            table.add_row(one.user, one.item, *numbers)
        console().print(table)
        if made.rows > SHOWN:
            print(f"and {made.rows - SHOWN:,} more: write them all with --out FILE")
    for note in made.notes:
        console(error=True).print(f"note: {note}")
