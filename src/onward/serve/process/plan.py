"""What a worker is told when it starts, and what it says when it can't."""

from __future__ import annotations

from onward.config import Config
from onward.serve.settings import ServeConfig

GIVE_UP = 9.0
"""Seconds after the signal to stop when a process ends whatever still runs."""


class WorkerPlan(Config):
    """What a worker is told."""

    number: int
    """From 0."""
    workers: int
    """How many there are."""
    store: str
    """File or URL of the store."""
    model: str | None
    """Bundle named on the command line."""
    first: str | None
    """Name of the model that takes over once every worker has loaded and checked it."""
    models: str | None
    """Folder of further ones."""
    settings: ServeConfig
    """`serve.toml`."""
    page: bool
    """Whether the live page is served."""
    name: str
    """Of the server: host and port."""


class Refusal(Config):
    """The first word of a worker that can't start: its error."""

    code: str
    """Which error."""
    message: str
    """What is wrong."""
    hint: str
    """What to do about it."""
    exit_code: int
    """Of the command."""
