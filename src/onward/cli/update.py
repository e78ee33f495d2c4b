"""`onward update`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, Track, console, emit, listed

if TYPE_CHECKING:
    from rich.table import Table

    from onward.evaluate.gate import Gate
    from onward.evaluate.results import Estimate
    from onward.update.results import UpdateResult

REFUSED = 3
"""Exit code where the gate let nothing through."""


def update(
    model: Annotated[Path, Parameter(help="The current model: a bundle, or a run folder. It stays as it is.")],
    dataset: Annotated[Path, Parameter(help="The same log, prepared again with what came since.")],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(
            name=["--out", "-o"],
            help="Folder of the next version. [default: the model's with the next number, shop-2 after shop]",
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="Of batches, dropout, who is replayed, and the users resampled.")] = 0,
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            help="One setting, KEY=VALUE: held_out=0.3, margin=0.01, fine_tune.budget=0.15, fine_tune.replay=1, "
            "fine_tune.learning_rate_share=0.5.",
            negative="",
        ),
    ] = None,
    track: Track = None,
    as_json: Json = False,
) -> int:
    """Train a model on with new events, and write it as the next version if it is not worse.

    Old items keep their rows, new ones begin as their features or neighbours say, and the model learns from what came
    after its training, with a sample of old histories beside it. The newest of that is held out first: the current
    model and the candidate predict it, and only where the paired 95% interval of NDCG@10 lies above -1% of the current
    one is the next version written, trained on all of it. A model that is fitted in one call is fitted again.

    The exit code is 0 where a version was written, and 3 where the gate refused: there is then nothing but a report
    beside it, OUT.refused.json. Killed at any moment, it goes on where it was when called again. To go back, serve the
    folder of the version before.

    Example: onward update models/shop dataset/ -o models/shop-2
    """
    from onward.config import apply_settings
    from onward.train.loop import Stopped
    from onward.update.run import update as run_update
    from onward.update.settings import UpdateConfig

    config = UpdateConfig.parse(apply_settings({}, settings or ()))
    try:
        with _stages() as on_stage:
            names = listed(track)
            result = run_update(model, dataset, out, config=config, seed=seed, track=names, on_stage=on_stage)
    except Stopped:
        raise KeyboardInterrupt("what is done is kept; the same command goes on with it") from None
    emit(result, as_json, lambda: _show(result))
    return 0 if result.passed else REFUSED


@contextmanager
def _stages() -> Iterator[Callable[[str], Callable[[int, int], None] | None]]:
    """Say what begins, and show the requests that the gate has ranked; trainings show a bar of their own."""
    from onward.cli.progress import ranking_progress

    with ExitStack() as shown:

        def begin(stage: str) -> Callable[[int, int], None] | None:
            shown.close()
            console(error=True).print(stage)
            return shown.enter_context(ranking_progress("held-out requests")) if stage == "the gate" else None

        yield begin


def _show(result: UpdateResult) -> None:
    gate, text = result.gate, console()
    held_out = f"{result.held_out_events:,} newest held out"
    text.print(f"{result.name}: {result.trained_events + result.held_out_events:,} new events, {held_out}")
    if result.new_items is not None:
        text.print(f"{result.new_items:,} items are new to it")
    text.print(_table(gate))
    low, value = f"{gate.difference.low:+.4f}", gate.current["ndcg@10"].value
    if result.passed:
        text.print(f"passed: the difference's lower end, {low}, lies above {gate.least:+.4f}")
        text.print(f"next version: {result.next}    to go back, serve {result.model}", highlight=False)
        return
    text.print(f"[bold]refused[/]: the difference's lower end, {low}, doesn't lie above {gate.least:+.4f}")
    if gate.difference.low <= 0 <= gate.difference.high:
        width = (gate.difference.high - gate.difference.low) / 2
        share = f", {width / value:.1%} of the current NDCG@10" if value else ""
        text.print(f"the interval is ±{width:.4f}{share}: more held-out events would make it narrower")
    text.print(f"nothing was written but the report: {result.report}", highlight=False)


def _table(gate: Gate) -> Table:
    from rich.table import Table

    table = Table(title=f"{gate.requests:,} requests of {gate.users:,} users, the newest, after both were trained")
    for name in ("", "NDCG@10", "HR@10", "unknown targets"):
        table.add_column(name, justify="right" if name else "left")
    rows = (("current", gate.current, gate.current_cold), ("candidate", gate.candidate, gate.candidate_cold))
    for name, metrics, cold in rows:
        table.add_row(name, _estimate(metrics["ndcg@10"]), _estimate(metrics["hr@10"]), f"{cold:.1%}")
    table.add_row("difference", _signed(gate.difference), "", "")
    if gate.known_difference is not None and gate.current_cold > 0:
        table.add_row("  of targets that both may know", _signed(gate.known_difference), "", "")
    return table


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"
