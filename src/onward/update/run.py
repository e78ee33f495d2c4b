"""One update: train a candidate without the newest events, let the gate predict them, then make the next version.

What is written is not the candidate: once the recipe has passed, the same recipe starts again from the current model
and learns from all new events, those that the gate predicted too, since the newest events are worth most. The figures
in its manifest are the candidate's, and say so.

Everything that takes long is kept in a hidden folder beside the next version until that is there, so that an update
that was killed goes on where it was::

    .shop-2.update/
      plan.json        which update this is; the work of another one is thrown away
      candidate/       a run, trained without what is held out
      gate.json        what the gate said
      final/           a run, trained on everything
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from onward.bundle import WEIGHTS, Bundle, bundle_folder, export, load_bundle, read_manifest
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Ints
from onward.data.split import split
from onward.evaluate.gate import Gate, gate
from onward.evaluate.ranking import Progress
from onward.files import atomic_file, check_target
from onward.manifest import BundleManifest, Lineage
from onward.train.go_on import go_on
from onward.update.newest import held_out_from, new_times, unseen_since
from onward.update.results import UpdateResult, write_report
from onward.update.settings import Plan, UpdateConfig
from onward.update.versions import found_version, made_by, next_version

PLAN, GATE = "plan.json", "gate.json"
OnStage = Callable[[str], Progress | None]
"""Called with what begins now; gives what to tell of the requests ranked."""


def update(
    model: str | Path,
    dataset: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    config: UpdateConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    on_stage: OnStage = lambda stage: None,
) -> UpdateResult:
    """Train a model on with new events, and write the next version if the gate lets it through.

    Killed at any moment it leaves no new version or a whole one, and called again it goes on where it was.

    Args:
        model: bundle or run folder; it stays as it is.
        dataset: of the same log, prepared again with what came since.
        out: folder of the next version; by default the model's with the next number, `shop-2` after `shop`.

    Raises:
        ConfigError: too little is new, or the model can't go on with this data.
        FormatError: an unsound folder.
        OutputError: `out` exists, or can't be written.
        TrainingError, Stopped: as in `train`.
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    current, config = load_bundle(model), config or UpdateConfig()
    since = unseen_since(current)
    times = new_times(data, since)
    plan = Plan(
        parent=current.manifest.files[WEIGHTS],
        dataset=data.manifest.hash,
        since=since,
        held_out_from=held_out_from(times, config.held_out),
        seed=seed,
        config=config,
    )
    there = found_version(plan, Path(model)) if out is None else made_by(plan, Path(out)) and Path(out)
    target = there or (next_version(Path(model)) if out is None else Path(out))
    work = target.parent / f".{target.name}.update"
    if there:  # killed right after it was written, or asked for again
        shutil.rmtree(work, ignore_errors=True)
        return _written(Path(model), data, plan, times, there)
    check_target(target)
    _begin(work, plan)
    on_stage("training the candidate")
    protocol = plan.protocol(current.manifest.split)
    candidate = _trained(current, data, work / "candidate", plan, True, progress)
    verdict = _verdict(work / GATE)
    if verdict is None:
        asked = split(data.histories, protocol, data.manifest.actions).test
        told = on_stage("the gate")
        verdict = gate(current, candidate, data, asked, config.margin, seed, told)
        with atomic_file(work / GATE, overwrite=True) as new:
            new.write_text(verdict.model_dump_json(), encoding="utf-8")
    seconds = float(candidate.manifest.training["seconds"])
    new_items = candidate.manifest.training.get("new_items")
    if verdict.passed:
        on_stage("training the next version")
        final = _trained(current, data, work / "final", plan, False, progress)
        export(work / "final", target, lineage=_lineage(Path(model), current.manifest, plan, verdict))
        seconds += float(final.manifest.training["seconds"])
        new_items = final.manifest.training.get("new_items")
    result = _result(Path(model), data, plan, times, verdict, target if verdict.passed else None, new_items, seconds)
    if not verdict.passed:
        file = target.parent / f"{target.name}.refused.json"
        result = result.model_copy(update={"report": str(file)})
        write_report(result, file)
    shutil.rmtree(work, ignore_errors=True)
    return result


def _begin(work: Path, plan: Plan) -> None:
    """Make the folder of work, or find that of the same update."""
    try:
        if Plan.model_validate_json((work / PLAN).read_text(encoding="utf-8")) == plan:
            return
    except (OSError, ValidationError):
        pass  # there is none, or it was cut short
    shutil.rmtree(work, ignore_errors=True)
    with atomic_file(work / PLAN) as new:
        new.write_text(plan.model_dump_json(), encoding="utf-8")


def _trained(current: Bundle, data: Dataset, folder: Path, plan: Plan, without_held_out: bool, shown: bool) -> Bundle:
    """The model trained on with new events, by what is kept of it or from the beginning."""
    go_on(
        current,
        data,
        folder,
        plan.since,
        plan.config.fine_tune,
        protocol=plan.protocol(current.manifest.split) if without_held_out else None,
        seed=plan.seed,
        resume=True,
        progress=shown,
    )
    return load_bundle(folder)


def _verdict(file: Path) -> Gate | None:
    return Gate.model_validate_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def _lineage(model: Path, parent: BundleManifest, plan: Plan, verdict: Gate) -> Lineage:
    before = [] if parent.lineage is None else parent.lineage.ancestors
    return Lineage(
        previous=model.resolve().name,
        ancestors=[*before, parent.files[WEIGHTS]],
        plan=plan.model_dump(mode="json"),
        gate=verdict.as_dict(),
    )


def _written(model: Path, data: Dataset, plan: Plan, times: Ints, folder: Path) -> UpdateResult:
    """The result of an update whose version is there already."""
    manifest = read_manifest(bundle_folder(folder))
    assert manifest.lineage is not None
    training = manifest.training
    verdict = Gate.model_validate(manifest.lineage.gate)
    return _result(model, data, plan, times, verdict, folder, training.get("new_items"), float(training["seconds"]))


def _result(
    model: Path,
    data: Dataset,
    plan: Plan,
    times: Ints,
    verdict: Gate,
    written: Path | None,
    new_items: int | None,
    seconds: float,
) -> UpdateResult:
    held_out = int((times >= plan.held_out_from).sum())
    return UpdateResult(
        model=str(model),
        name=read_manifest(bundle_folder(model)).model,
        data=str(data.path),
        passed=verdict.passed,
        next=None if written is None else str(written),
        report=None,
        plan=plan,
        trained_events=len(times) - held_out,
        held_out_events=held_out,
        new_items=new_items,
        gate=verdict,
        seconds=seconds,
    )
