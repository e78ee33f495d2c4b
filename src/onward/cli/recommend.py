"""`onward recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.payload import Payload

if TYPE_CHECKING:
    from onward.recommend import Recommendations

SHOWN_HISTORY = 8
"""Newest items of a history that are printed."""


class RecommendationFile(Payload):
    """What `onward recommend --all --json` prints."""

    format: Literal["onward.recommendation_file/1"] = "onward.recommendation_file/1"
    """Format and version."""
    file: str
    """The Parquet file that was written."""
    users: int
    """Users with a list."""
    rows: int
    """Recommendations in all."""
    columns: list[str]
    """Columns of the file."""
    notes: list[str]
    """What a reader should know about it."""


def recommend(
    model: Annotated[Path, Parameter(help="A run folder, or a bundle.")],
    /,
    *,
    user: Annotated[str | None, Parameter(help="A user of the dataset.")] = None,
    history: Annotated[
        str | None, Parameter(help="What somebody did, oldest first: ids or titles, with commas between.")
    ] = None,
    everyone: Annotated[
        bool, Parameter(name="--all", help="Every user of the dataset; needs --out.", negative="")
    ] = False,
    k: Annotated[int, Parameter(name=["--k", "-k"], help="Items in a list.")] = 10,
    exclude: Annotated[str, Parameter(help="Items to leave out, named as in --history.", show_default=False)] = "",
    only: Annotated[
        list[str] | None,
        Parameter(help="COLUMN=VALUE that every item must meet, such as genre=Comedy; may be repeated.", negative=""),
    ] = None,
    dataset: Annotated[
        Path | None, Parameter(help="Where users are looked up. [default: the dataset of the training]")
    ] = None,
    seen: Annotated[
        Literal["exclude", "include"] | None,
        Parameter(help="Whether items of the history may come again. [default: as the dataset decided]"),
    ] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Parquet file to write, with --all.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace that file.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Recommend items for a user, a typed history, or everyone.

    The file of --all has the columns user, rank, item, score, and title where the catalog has titles.

    Example: onward recommend runs/sasrec --history "Toy Story (1995), Godfather, The (1972)" --only genre=Comedy
    """
    from onward.errors import ConfigError

    if (user is not None) + (history is not None) + everyone != 1:
        raise ConfigError("recommend for whom? give one of --user, --history and --all")
    if everyone:
        _everyone(model, dataset, k, only or [], exclude, seen, out, overwrite, as_json)
        return
    if out is not None:
        raise ConfigError("--out goes with --all", "for one list use --json")
    from onward.recommend import recommend as library

    found = library(model, history, user=user, k=k, only=only or [], exclude=exclude, dataset=dataset, seen=seen)
    emit(found, as_json, lambda: _print(found))


def _print(found: Recommendations) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    whose = f"user {found.user}" if found.user is not None else "this history"
    out.print(Text(f"{found.model} for {whose}", style="bold"))
    newest = ", ".join(found.history[-SHOWN_HISTORY:]) or "nothing"
    before = len(found.history) - SHOWN_HISTORY
    out.print(Text("after: " + (f"{before} more, then " if before > 0 else "") + newest, style="dim"))
    titled = any(one.title != one.item for one in found.items)
    table = Table(box=None)
    table.add_column("rank", justify="right")
    if titled:
        table.add_column("title")
    table.add_column("id")
    table.add_column("score", justify="right")
    for one in found.items:
        title = [Text(one.title)] if titled else []
        table.add_row(str(one.rank), *title, Text(one.item), f"{one.score:.4g}")
    out.print(table)
    _print_notes(found.notes)


def _print_notes(notes: list[str]) -> None:
    from rich.text import Text

    out = console(error=True)
    for note in notes:
        out.print(Text.assemble(("note: ", "yellow"), note))


def _everyone(
    model: Path,
    dataset: Path | None,
    k: int,
    only: list[str],
    exclude: str,
    seen: Literal["exclude", "include"] | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from onward.cli.progress import ranking_progress
    from onward.errors import ConfigError
    from onward.files import atomic_file
    from onward.recommend import recommend_all

    if out is None or out.suffix != ".parquet":
        raise ConfigError("where to? --all writes a Parquet file", "for example -o lists.parquet")
    # the file is opened first: one that exists is refused before the work, not after it
    with atomic_file(out, overwrite) as new, ranking_progress("users") as progress:
        frame, notes = recommend_all(model, dataset, k=k, only=only, exclude=exclude, seen=seen, progress=progress)
        frame.write_parquet(new)
    users = frame["user"].n_unique()
    payload = RecommendationFile(file=str(out), users=users, rows=frame.height, columns=frame.columns, notes=notes)

    def render() -> None:
        print(f"{frame.height:,} recommendations for {users:,} users: {out}")
        _print_notes(notes)

    emit(payload, as_json, render)
