"""The result of an update: what `--json` prints, and the report of one that was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from onward.evaluate.gate import Gate
from onward.files import atomic_file
from onward.payload import Payload
from onward.update.settings import Plan

FORMAT: Literal["onward.update/1"] = "onward.update/1"


class UpdateResult(Payload):
    """One update."""

    format: Literal["onward.update/1"] = FORMAT
    """Format and version."""
    model: str
    """The model that was updated, as given."""
    name: str
    """Its name in the registry."""
    data: str
    """The dataset, as given."""
    passed: bool
    """Whether the gate let the candidate through, so that a next version was written."""
    next: str | None
    """Folder of the next version; None where nothing was written."""
    report: str | None
    """Where this object was written when the gate refused; None of a version, whose manifest holds the same."""
    plan: Plan
    """What decided the update."""
    trained_events: int
    """New events that the candidate learned from."""
    held_out_events: int
    """New events that the gate predicted."""
    new_items: int | None
    """Items with events that the model hadn't learned of; None for a model that is fitted again."""
    gate: Gate
    """Candidate against current model."""
    seconds: float
    """Time of the trainings, over all sessions."""


def write_report(result: UpdateResult, file: Path) -> Path:
    """Write the result as JSON, replacing an earlier one. Raises OutputError where that can't be."""
    with atomic_file(file, overwrite=True) as new:
        new.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return file
