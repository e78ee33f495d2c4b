"""No harm: what features do to the ranking of items that training knows well, on ml-1m and amazon-beauty.

python bench/no_harm.py prepare FILE --data FOLDER [-o .bench/no-harm]
python bench/no_harm.py train FILE NAME --data FOLDER [--seed 0] [--seconds N] [-o .bench/no-harm]
python bench/no_harm.py report [-o .bench/no-harm]

FILE: `ml-1m` (genres and years of films; gender, age, occupation and region of users) or `amazon-beauty` (the words
that say what a product is). NAME: `ids`, `features`, or `features-kept`, the same without dropping ids. Protocol
`last`, the whole catalog, seen items excluded; the same epochs and settings for all. `report` gives the paired change
from `ids`, pooled over the seeds, relative, with its 95% interval over users and seeds.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl

from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from pooled import measure, report

NAMES = {
    "ids": {},
    "features": {"features": "all"},
    "features-kept": {"features": "all", "id_dropout": 0.0},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "ml-1m": {
        "split": {"protocol": "last"},
        "train": {"epochs": 10, "batch_tokens": 8192, "windows": "last", "learning_rate": 4e-3},
        "model": {"name": "sasrec", "width": 128, "heads": 2, "max_length": 200, "dropout": 0.2},
    },
    "amazon-beauty": {
        "split": {"protocol": "last"},
        "train": {"epochs": 15, "batch_tokens": 2048, "learning_rate": 4e-3},
        "model": {"name": "sasrec", "width": 64, "max_length": 50, "dropout": 0.5},
    },
}


def movielens(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events, items and users of the file of SASRec with what MovieLens says of them; ids are those of SASRec."""
    with gzip.open(folder / "ml-1m_sas.txt.gz", "rt") as lines:
        events = pl.DataFrame([line.split() for line in lines], schema=["user", "item"], orient="row")
    films = [line.split("::") for line in (folder / "movies.dat").read_text(encoding="latin-1").splitlines()]
    people = [line.split("::") for line in (folder / "users.dat").read_text(encoding="latin-1").splitlines()]
    items = pl.DataFrame(
        [(number, genres, int(title[-5:-1])) for number, title, genres in films],
        schema={"original": pl.String, "genres": pl.String, "year": pl.Int64},
        orient="row",
    )
    users = pl.DataFrame(
        [(number, gender, age, occupation, place[0]) for number, gender, age, occupation, place in people],
        schema=["original", "gender", "age_group", "occupation", "region"],
        orient="row",
    )
    return events, _renamed(items, folder, "item"), _renamed(users, folder, "user")


def _renamed(table: pl.DataFrame, folder: Path, what: str) -> pl.DataFrame:
    rows = [line.split() for line in (folder / f"sas_to_original_{what}s.txt").read_text().splitlines()]
    names = pl.DataFrame(rows, schema=[what, "original"], orient="row")
    return names.join(table, on="original").drop("original")


def beauty(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, None]:
    """Events, and items with the names of their attributes."""
    rows = [line.split() for line in (folder / "sequences.txt").read_text().splitlines()]
    events = pl.DataFrame([(row[0], item) for row in rows for item in row[1:]], schema=["user", "item"], orient="row")
    named = dict(pl.read_csv(folder / "attribute_names.csv").iter_rows())
    held = json.loads((folder / "item2attributes.json").read_text())
    items = pl.DataFrame({"item": list(held), "attributes": [[named[one] for one in held[item]] for item in held]})
    return events, items, None


FILES = {"ml-1m": movielens, "amazon-beauty": beauty}


def dataset(file: str, data: Path, kept: Path) -> Dataset:
    """The prepared file."""
    folder = kept / file
    if not folder.exists():
        events, items, users = FILES[file](data / file)
        prepare(events, folder, items=items, users=users)
    return open_dataset(folder)


def main() -> None:
    """Prepare a file, train one model, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["prepare", "train", "report"])
    parser.add_argument("file", nargs="?", choices=list(FILES))
    parser.add_argument("name", nargs="?", choices=list(NAMES))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="of one training; fewer epochs where not all of them fit")
    parser.add_argument("-o", "--out", type=Path, default=Path(".bench/no-harm"))
    given = parser.parse_args()
    if given.do == "report":
        for file in FILES:
            print(f"\n## {file}\n\n{report(given.out / file, list(NAMES), ['ids'])}")
        return
    out, work = given.out / given.file, given.out / "work"
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    made = dataset(given.file, given.data, work)
    if given.do == "prepare":
        return
    settings = {table: dict(values) for table, values in SETTINGS[given.file].items()}
    settings["model"] |= NAMES[given.name]
    measure(made, given.name, given.seed, settings, work, out, given.seconds)


if __name__ == "__main__":
    main()
