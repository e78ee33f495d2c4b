"""The family: every model on five public files, at an equal budget.

python bench/family.py --data FOLDER [--files ml-1m ...] [--models sasrec ...] [--report]

Every model that is trained gets the same on a file: two trainings, with a dropout of 0.2 and of 0.5, of the same number
of epochs, at the same width, batch and step size. What is better on validation is tested, once. Static models are
fitted as they come. Nothing is tuned for one model alone, so the table says what a model gives without care, and not
what it can give: docs/results.md has the best recipes.

What was measured stays in .bench/family, one file a training, so that a second call goes on where the first stopped;
`--report` only writes bench/FAMILY.md. Rows of the page that were measured elsewhere stay there, and give way to those
measured here. Two calls for different files may run side by side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onward.models.registry import model_class

HERE = Path(__file__).parent
KEPT = HERE.parent / ".bench" / "family"
ONWARD = [sys.executable, "-m", "onward"]
STATIC = ("random", "popularity", "personal-frequency", "markov", "item-knn", "user-knn", "ease", "als")
TRAINED = ("rnn", "lstm", "gru", "nextitnet", "sasrec", "esasrec", "hstu", "lrurec", "bsarec", "bert4rec")
DROPOUTS = (0.2, 0.5)


@dataclass(frozen=True)
class File:
    """One data set, and what every model gets on it."""

    name: str
    sources: tuple[str, ...]
    epochs: int
    batch: int
    learning_rate: float
    length: int
    windows: str = "all"
    shown: tuple[str, str] = ("ndcg@10", "hr@10")
    split: tuple[str, ...] = ("--protocol", "last")


FILES = (
    File("ml-1m", ("ml-1m/ml-1m_sas.txt.gz",), 5, 2048, 2e-3, 200, "last"),
    File("amazon-beauty", ("amazon-beauty/sequences.txt",), 8, 1024, 4e-3, 50),
    File("amazon-toys", ("amazon-toys/sequences.txt",), 8, 1024, 4e-3, 50),
    File("amazon-video-games", ("amazon-video-games/Video.txt.gz",), 4, 1024, 4e-3, 50),
    File(
        "yoochoose-100k",
        tuple(f"yoochoose-100k/yoochoose-clicks-100k_{part}.txt.gz" for part in ("train_full", "test")),
        10,
        1024,
        4e-3,
        50,
        shown=("recall@20", "mrr@20"),
        split=("--set", "split.valid_from=1396745100000000", "--set", "split.test_from=1396831793000000"),
    ),
)


def onward(*arguments: str) -> dict[str, Any]:
    """What a command prints as JSON; its progress and errors go to the terminal."""
    done = subprocess.run([*ONWARD, *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise RuntimeError(found["error"]["message"])
    return found


def settings(file: File, model: str, dropout: float) -> list[str]:
    """Of one training. A row for every prefix makes several epochs of one, so such models have fewer of them."""
    windows = model_class(model).traits.windows
    epochs = file.epochs // 4 if windows == ("prefix",) else file.epochs
    own = [f"train.windows={file.windows}"] if file.windows in windows else []
    batch = [f"train.batch_tokens={file.batch}", f"train.learning_rate={file.learning_rate}"]
    shape = ["model.width=64", f"model.max_length={file.length}", f"model.dropout={dropout}"]
    return [f"train.epochs={max(1, epochs)}", *own, *batch, *shape]


def measure(file: File, model: str, dataset: Path) -> None:
    """Train each trial, then test the one that validates best; what is known already is passed over."""
    folder = KEPT / file.name
    trials: dict[str, float] = {}
    for dropout in (None,) if model in STATIC else DROPOUTS:
        name = model if dropout is None else f"{model}-{dropout}"
        kept = folder / f"{name}.json"
        if not kept.is_file():
            chosen = [] if dropout is None else settings(file, model, dropout)
            sets = [word for one in chosen for word in ("--set", one)]
            run = folder / "runs" / name
            found = onward("train", str(dataset), "-m", model, "-o", str(run), "--overwrite", *file.split, *sets)
            kept.write_text(json.dumps(found))
        trials[name] = json.loads(kept.read_text())["validation"]["ndcg@10"]
    best = max(trials, key=lambda name: trials[name])
    tested = folder / f"{model}.test.json"
    if not tested.is_file():
        result = onward("evaluate", str(folder / "runs" / best))
        tested.write_text(json.dumps({"trial": best, "metrics": result["metrics"]}))


HEAD = """# The family

Written by `python bench/family.py`: every model on five public files at an equal budget. A trained model had two
trainings on a file, with dropout 0.2 and 0.5, of the same epochs, 64 wide, with the same batches and step size, seed 0
(a quarter of the epochs where a row is trained for every prefix); the better on validation was tested once. Static
models are as they come. Whole catalog; 95% intervals resample users. The budget is small and the same for all, so these
rows say what a model gives without care: `docs/results.md` has what it can give. Other work ran beside the trainings,
now more and now less, and rnn, lstm, gru and bert4rec were trained on a GPU, fourteen at once, but for yoochoose and
for gru and lstm on ml-1m: minutes can't be compared from row to row.
"""


def report(page: Path) -> None:
    """Write a table a file, best first; a row of the page that wasn't measured here stays."""
    parts, before = [HEAD], rows_of(page) if page.is_file() else {}
    for file in FILES:
        found = {name: table_row(file, name) or before.get((file.name, name)) for name in (*STATIC, *TRAINED)}
        rows = [row for row in found.values() if row is not None]
        if not rows:
            continue
        first, second = (name.upper() if name[0] != "r" else name.capitalize() for name in file.shown)
        parts.append(f"\n## {file.name}\n\n{file.epochs} epochs, histories of {file.length}; minutes of one training.")
        missing = [name for name, row in found.items() if row is None]
        if missing:
            parts[-1] += f" No figure: {', '.join(missing)}."
        parts.append(f"\n| model | dropout | {first} | 95% interval | {second} | minutes |")
        parts.append("|---|---:|---:|---:|---:|---:|")
        parts += [line for _, line in sorted(rows, reverse=True)]
    page.write_text("\n".join(parts) + "\n")


def rows_of(page: Path) -> dict[tuple[str, str], tuple[float, str]]:
    """(File, model) to (what is sorted by, the row), of a page that is there."""
    found, file = dict[tuple[str, str], tuple[float, str]](), ""
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("## "):
            file = line.removeprefix("## ")
        elif len(cells) > 3 and cells[1] in (*STATIC, *TRAINED):
            found[file, cells[1]] = float(cells[3]), line
    return found


def table_row(file: File, model: str) -> tuple[float, str] | None:
    """(what is sorted by, the row), or None when it wasn't measured."""
    tested = KEPT / file.name / f"{model}.test.json"
    if not tested.is_file():
        return None
    found = json.loads(tested.read_text())
    metrics, trial = found["metrics"], found["trial"]
    trained = json.loads((KEPT / file.name / f"{trial}.json").read_text())
    first, second = (metrics[name] for name in file.shown)
    dropout = trial.rpartition("-")[2] if model in TRAINED else ""
    interval = f"{first['low']:.4f} to {first['high']:.4f}"
    minutes = trained["seconds"] / 60
    line = f"| {model} | {dropout} | {first['value']:.4f} | {interval} | {second['value']:.4f} | {minutes:.1f} |"
    return first["value"], line


def main() -> int:
    """Measure what isn't known yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--files", nargs="+", default=[file.name for file in FILES])
    parser.add_argument("--models", nargs="+", default=[*STATIC, *TRAINED])
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    page = HERE / "FAMILY.md"
    if given.report:
        report(page)
        return 0
    if given.data is None:
        parser.error("--data: the folder that holds ml-1m/, amazon-beauty/, amazon-toys/ and so on")
    failed = []
    for file in FILES:
        if file.name not in given.files:
            continue
        dataset = KEPT / file.name / "dataset"
        if not dataset.is_dir():
            dataset.parent.mkdir(parents=True, exist_ok=True)
            onward("prepare", *(str(given.data / source) for source in file.sources), "-o", str(dataset))
        for model in given.models:
            try:
                measure(file, model, dataset)
            except (RuntimeError, ValueError, OSError) as error:
                failed.append(f"{file.name} {model}: {error}")
                print(failed[-1], file=sys.stderr)
    report(page)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
