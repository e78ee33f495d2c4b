"""A server from its first check to its last answer: one process, or several that a parent looks after."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onward.serve.api.metrics import shared_table
from onward.serve.process.launch import Address, listen, model_name, require_keys, settle
from onward.serve.process.logs import log_to_stderr
from onward.serve.process.plan import WorkerPlan
from onward.serve.process.supervisor import supervise
from onward.serve.settings import read_settings
from onward.serve.store.protocol import open_store, place


@dataclass(frozen=True)
class Started:
    """A server that answers.

    Attributes:
        url: where.
        model: which model serves.
        store: where events are kept.
        keys: how many are good.
        notes: what a reader should know.
    """

    url: str
    model: str
    store: str
    keys: int
    notes: list[str]


def run_server(
    model: Path | None,
    store: str,
    host: str,
    port: int,
    workers: int,
    models: Path | None,
    config: Path | None,
    page: bool,
    ready: Callable[[Started], None],
) -> int:
    """Serve until SIGTERM or SIGINT; returns the signal. Arguments as those of `onward serve`.

    Raises:
        OnwardError: the settings, the store, the model or the address can't be used.
    """
    log_to_stderr()
    settings = read_settings(config)
    name = None if model is None else model_name(model)
    address = listen(host, port)
    try:
        keys, active, note = _check(store, address, name)
        notes = [note] if note else []
        if port and address.port != port:
            notes.append(f"port {port} is taken, so it is {address.port}")
        plan = WorkerPlan(
            number=0,
            workers=workers,
            store=store,
            model=None if model is None else str(model.resolve()),
            models=None if models is None else str(models.resolve()),
            settings=settings,
            page=page,
            name=f"{socket.gethostname()}:{address.port}",
        )
        return _run(plan, address, lambda: ready(Started(address.url, active, place(store), keys, notes)))
    finally:
        address.listening.close()


def _check(store: str, address: Address, name: str | None) -> tuple[int, str, str]:
    """Keys that are good, the model that serves, and a note on how it came to that."""
    opened = open_store(store)
    try:
        keys = require_keys(address.host, opened)
        note = settle(opened, name)
        return keys, opened.deployment().active or "", note
    finally:
        opened.close()


def _run(plan: WorkerPlan, address: Address, ready: Callable[[], None]) -> int:
    if plan.workers == 1:
        from onward.serve.process.worker import (
            run_worker,  # loads the numerical libraries, which a parent needs none of
        )

        return run_worker(plan, address.listening, None, ready)
    with shared_table(plan.workers) as table:
        return supervise(plan, address.listening, table, ready)
