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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from onward.bundle import WEIGHTS, Bundle, bundle_folder, export, load_bundle, read_manifest
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Ints
from onward.data.split import split
from onward.evaluate.gate import Gate, gate
from onward.evaluate.ranking import Progress
from onward.files import atomic_file, check_target
from onward.manifest import Lineage
from onward.tracking.names import check_trackers
from onward.train.go_on import go_on
from onward.update.newest import held_out_from, new_times, unseen_since
from onward.update.results import UpdateResult, write_report
from onward.update.settings import Plan, UpdateConfig
from onward.update.tracked import STAGES, track_update
from onward.update.versions import found_version, made_by, next_version

PLAN, GATE = "plan.json", "gate.json"
CANDIDATE, FINAL = STAGES
OnStage = Callable[[str], Progress | None]
"""Called with what begins now; gives what to tell of the requests ranked."""


def update(
    model: str | Path,
    dataset: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    config: UpdateConfig | None = None,
    seed: int = 0,
    track: Sequence[str] = (),
    progress: bool = True,
    on_stage: OnStage = lambda stage: None,
) -> UpdateResult:
    """Train a model on with new events, and write the next version if the gate lets it through.

    Killed at any moment it leaves no new version or a whole one, and called again it goes on where it was.

    Args:
        model: bundle or run folder; it stays as it is.
        dataset: of the same log, prepared again with what came since.
        out: folder of the next version; by default the model's with the next number, `shop-2` after `shop`.
        track: trackers that are told of the update once it is done.

    Raises:
        ConfigError: too little is new, or the model can't go on with this data.
        FormatError: an unsound folder.
        OutputError: `out` exists, or can't be written.
        TrainingError, Stopped: as in `train`.
    """
    check_trackers(track)
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    model, current, config = Path(model), load_bundle(model), config or UpdateConfig()
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
    there = found_version(plan, model) if out is None else made_by(plan, Path(out)) and Path(out)
    target = there or (next_version(model) if out is None else Path(out))
    under_way = _Update(model, current, data, plan, times, target, progress, on_stage)
    result = under_way.written() if there else under_way.run()
    if under_way.work.is_dir():
        track_update(result, target, under_way.work, track)
        shutil.rmtree(under_way.work, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _Update:
    """One update; `run` reads from top to bottom."""

    model: Path
    current: Bundle
    data: Dataset
    plan: Plan
    times: Ints
    target: Path
    shown: bool
    on_stage: OnStage

    @property
    def work(self) -> Path:
        """The folder of what is kept until the update is done."""
        return self.target.parent / f".{self.target.name}.update"

    def run(self) -> UpdateResult:
        """Train and judge the candidate, and write the next version or the report of a refusal."""
        check_target(self.target)
        _begin(self.work, self.plan)
        self.on_stage("training the candidate")
        candidate = self._trained(CANDIDATE)
        verdict = self._verdict(candidate)
        if not verdict.passed:
            report = self.target.parent / f"{self.target.name}.refused.json"
            result = self._result(verdict, [candidate]).model_copy(update={"next": None, "report": str(report)})
            write_report(result, report)
            return result
        self.on_stage("training the next version")
        final = self._trained(FINAL)
        export(self.work / FINAL, self.target, lineage=self._lineage(verdict))
        return self._result(verdict, [candidate, final])

    def written(self) -> UpdateResult:
        """The result of an update whose version is there: killed right after that, or asked for again."""
        manifest = read_manifest(bundle_folder(self.target))
        assert manifest.lineage is not None
        return self._result(Gate.model_validate(manifest.lineage.gate), [load_bundle(self.target)])

    def _trained(self, stage: str) -> Bundle:
        """The model trained on with new events, by what is kept of it or from the beginning."""
        held_out = stage == CANDIDATE
        go_on(
            self.current,
            self.data,
            self.work / stage,
            self.plan.since,
            self.plan.config.fine_tune,
            protocol=self.plan.protocol(self.current.manifest.split) if held_out else None,
            seed=self.plan.seed,
            resume=True,
            progress=self.shown,
        )
        return load_bundle(self.work / stage)

    def _verdict(self, candidate: Bundle) -> Gate:
        """What the gate said, or says now."""
        file = self.work / GATE
        if file.is_file():
            return Gate.model_validate_json(file.read_text(encoding="utf-8"))
        protocol = self.plan.protocol(self.current.manifest.split)
        asked = split(self.data.histories, protocol, self.data.manifest.actions).test
        told = self.on_stage("the gate")
        verdict = gate(self.current, candidate, self.data, asked, self.plan.config.margin, self.plan.seed, told)
        with atomic_file(file, overwrite=True) as new:
            new.write_text(verdict.model_dump_json(), encoding="utf-8")
        return verdict

    def _lineage(self, verdict: Gate) -> Lineage:
        parent = self.current.manifest
        before = [] if parent.lineage is None else parent.lineage.ancestors
        return Lineage(
            previous=self.model.resolve().name,
            ancestors=[*before, parent.files[WEIGHTS]],
            plan=self.plan.model_dump(mode="json"),
            gate=verdict.as_dict(),
        )

    def _result(self, verdict: Gate, trained: Sequence[Bundle]) -> UpdateResult:
        """The result of one that passed; `trained` are the models that it made."""
        held_out = int((self.times >= self.plan.held_out_from).sum())
        return UpdateResult(
            model=str(self.model),
            name=self.current.manifest.model,
            data=str(self.data.path),
            passed=verdict.passed,
            next=str(self.target),
            report=None,
            plan=self.plan,
            trained_events=len(self.times) - held_out,
            held_out_events=held_out,
            new_items=trained[-1].manifest.training.get("new_items"),
            gate=verdict,
            seconds=sum(float(one.manifest.training["seconds"]) for one in trained),
        )


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
