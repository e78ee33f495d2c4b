"""`onward demo` from end to end, on a small log in the form of MovieLens-100K."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from onward.cli import progress as cli_progress
from onward.cli.main import app, main
from onward.data import datasets
from onward.evaluate.report_costs import LISTS


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder, and a public data set of 60 users whose next film follows from the last."""
    rng = np.random.default_rng(0)
    source = tmp_path / "films"
    source.mkdir()
    events = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\n"]
    for user in range(60):
        film, start = int(rng.integers(40)), 880_000_000 + int(rng.integers(3_000_000))
        for step in range(int(rng.integers(8, 20))):
            rating = 1 + (film + step) % 5
            events.append(f"{user}\t{(film + step) % 40}\t{rating}\t{start + 60 * step}\n")
    titles = [f"{film}\tFilm number {film}\t1995\tComedy Drama\n" for film in range(40)]
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    (source / "ml-100k.inter").write_text("".join(events), encoding="utf-8")
    (source / "ml-100k.item").write_text("".join([header, *titles]), encoding="utf-8")
    monkeypatch.setattr(datasets, "get_dataset", lambda name, out=None: source)
    monkeypatch.setattr(datasets, "cached_dataset", lambda name: source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_demo(films: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[tuple[int, int]] = []
    shown_progress = cli_progress.steps_progress

    @contextmanager
    def steps_progress(what: str) -> Iterator[Callable[[int, int], None]]:
        with shown_progress(what) as step:
            yield (lambda *at: looked.append(at)) if what == "timing lists" else step

    monkeypatch.setattr(cli_progress, "steps_progress", steps_progress)
    assert main(["demo", "--quick"]) == 0
    begun = [place for place, (done, _) in enumerate(looked) if done == 0]
    assert [looked[place][1] for place in begun] == [5 * LISTS, 5 * LISTS, LISTS], "one report of three comparisons"
    for first, end in pairwise([*begun, len(looked)]):
        done = [one for one, _ in looked[first:end]]
        assert done == sorted(done)
        assert done[-1] == looked[first][1]
        assert len(set(done)) > 20, "timing lists takes seconds, and says so"
    printed, progress = capfd.readouterr()
    assert "free for research, no commercial use" in printed
    for model in ("popularity", "item-knn", "markov", "lstm", "sasrec"):
        assert len(re.findall(rf"^ *{model} ", printed, re.MULTILINE)) >= 2, f"{model} in both tables"
    assert re.search(r"mse 0\.\d+  accuracy [01]\.\d+  precision [01]\.\d+  recall [01]\.\d+  f1 [01]\.\d+", printed)
    assert "Film number" in printed
    assert "warn" not in progress.lower()
    assert "Traceback" not in progress
    for what in ("before", "click", "after"):
        assert re.search(rf"^  {what} +[\d.]+ ms ", printed, re.MULTILINE)
    assert "Stopped" in printed
    page = (films / "demo/report.html").read_text(encoding="utf-8")
    assert "sasrec" in page

    shown = re.findall(r"^\$ onward (.*)$", printed, re.MULTILINE)
    assert len(shown) >= 19
    advised = re.findall(r"^  onward (.*)$", printed.partition("Next:")[2], re.MULTILINE)
    assert len(advised) == 6
    for line in [*shown, *advised]:
        app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    *ours, server, _ = advised  # the last is for the reader's own file
    assert server == "serve demo/time/sasrec --store demo/onward.db"
    for line in ours:
        assert main(shlex.split(line)) == 0, line

    for name, few in (("PROTOCOLS", ("time",)), ("STATIC", ("popularity",)), ("NEURAL", ("sasrec",))):
        monkeypatch.setattr(import_module("onward.cli.demo"), name, few)
    assert main(["demo", "--quick"]) == 0, "a second time, here with fewer models, it replaces the first"


def test_demo_into_a_folder_of_something_else(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (films / "demo/dataset").mkdir(parents=True)
    (films / "demo/dataset/diary.txt").write_text("mine")
    assert main(["demo", "--quick"]) == 2
    assert "demo/dataset" in capsys.readouterr().err
    assert (films / "demo/dataset/diary.txt").read_text() == "mine"
