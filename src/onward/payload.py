"""What `--json` prints: the base of every payload, and that of an error.

Each payload is a model beside the function or the command that makes it. docs/schemas/ holds their schemas.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """Base of what is written as JSON: within a format version fields are only added, so unknown ones pass."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; what `--json` prints."""
        return self.model_dump(mode="json")


class Problem(Payload):
    """What went wrong."""

    code: str
    """`usage`, `config`, `data`, `format`, `output`, `training`...: kind of the error."""
    message: str
    """What is wrong and where."""
    hint: str
    """What to do about it; may be empty."""


class Failure(Payload):
    """What a command prints in place of its result when it fails."""

    error: Problem
    """The error."""
