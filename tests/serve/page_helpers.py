"""Films with titles for the page to show, and models of them: after film n comes film n + 1."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

FILMS = 40


def write_films(folder: Path) -> Path:
    """A log of 60 users in the form of MovieLens' atomic files."""
    rng = np.random.default_rng(0)
    events = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\n"]
    for user in range(60):
        film, start = int(rng.integers(FILMS)), 880_000_000 + int(rng.integers(3_000_000))
        events += [f"{user}\t{(film + step) % FILMS}\t4\t{start + 60 * step}\n" for step in range(12)]
    films = [f"{film}\tFilm number {film}\t1995\t{('Comedy', 'Drama')[film % 2]}\n" for film in range(FILMS)]
    folder.mkdir()
    (folder / "films.inter").write_text("".join(events), encoding="utf-8")
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    (folder / "films.item").write_text("".join([header, *films]), encoding="utf-8")
    return folder


def make_shelf(folder: Path) -> Path:
    """Bundles `first` (measured), `second` and `broken`, whose weights were changed; the dataset is beside them."""
    from onward.bundle import export
    from onward.data.prepare import prepare
    from onward.evaluate.protocol import evaluate
    from onward.train.run import train

    prepare(write_films(folder / "films"), folder / "dataset")
    for name, model in (("first", "markov"), ("second", "item-knn")):
        run = folder / "runs" / name
        train(folder / "dataset", model, run, protocol="last", progress=False)
        if name == "first":
            evaluate(run)
        export(run, folder / "shelf" / name)
    shutil.copytree(folder / "shelf" / "second", folder / "shelf" / "broken")
    manifest = json.loads((folder / "shelf/broken/manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["weights.safetensors"] = "0" * 64
    (folder / "shelf/broken/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder / "shelf"
