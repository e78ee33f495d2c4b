"""A server from its first check to its last answer: one process, or several that a parent looks after."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from onward.errors import OnwardError
from onward.serve.api.metrics import shared_table
from onward.serve.process.launch import Address, Choice, choose, give_up, listen, model_name, require_keys, take_over
from onward.serve.process.logs import log_to_stderr
from onward.serve.process.plan import WorkerPlan
from onward.serve.process.supervisor import supervise
from onward.serve.settings import read_settings
from onward.serve.store.discard import discarded_on_failure
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
        OnwardError: the settings, the store, the model or the address can't be used. A store that was made for this
            start is gone then.
    """
    log_to_stderr()
    settings = read_settings(config)
    name = None if model is None else model_name(model)
    address = listen(host, port, workers)
    with ExitStack() as leaving:
        for one in address.listening:
            leaving.callback(one.close)
        leaving.enter_context(discarded_on_failure(store))
        keys, choice = _check(store, address, name)
        notes = [choice.note] if choice.note else []
        if port and address.port != port:
            notes.append(f"port {port} is taken, so it is {address.port}")
        plan = WorkerPlan(
            number=0,
            workers=workers,
            store=store,
            model=None if model is None else str(model.resolve()),
            first=choice.model if choice.proposed else None,
            models=None if models is None else str(models.resolve()),
            settings=settings,
            page=page,
            name=f"{socket.gethostname()}:{address.port}",
        )
        return _run(plan, address, lambda: ready(Started(address.url, choice.model, place(store), keys, notes)))


def _check(store: str, address: Address, name: str | None) -> tuple[int, Choice]:
    """Keys that are good, and the model to start with."""
    with closing(open_store(store)) as opened:
        return require_keys(address.host, opened), choose(opened, name)


def _run(plan: WorkerPlan, address: Address, ready: Callable[[], None]) -> int:
    try:
        if plan.workers == 1:
            from onward.serve.process.worker import (
                run_worker,  # loads the numerical libraries, which a parent needs none of
            )

            return run_worker(plan, address.listening[0], None, ready)
        with shared_table(plan.workers) as table:
            return supervise(plan, address.listening, table, lambda: _serve_first(plan, ready))
    except BaseException:
        if plan.first is not None:
            with suppress(OnwardError), closing(open_store(plan.store)) as opened:
                give_up(opened, plan.first)
        raise


def _serve_first(plan: WorkerPlan, ready: Callable[[], None]) -> None:
    if plan.first is not None:
        with closing(open_store(plan.store)) as opened:
            take_over(opened, plan.first)
    ready()
