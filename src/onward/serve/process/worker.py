"""One worker process: everything put together, serving until it is told to stop, and draining then."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from onward.errors import OnwardError, StoreError
from onward.serve.api.app import create_app
from onward.serve.api.keys import Keys
from onward.serve.api.metrics import Metrics
from onward.serve.models.deploy import Deployer
from onward.serve.models.shelf import Shelf
from onward.serve.process.connections import Connections
from onward.serve.process.launch import BACKLOG, take_over
from onward.serve.process.logs import log_to_stderr
from onward.serve.process.plan import GIVE_UP, Refusal, WorkerPlan
from onward.serve.service import Service
from onward.serve.store.protocol import open_store

DRAIN = 6
"""Seconds that requests have to finish after the signal to stop."""
INTERVAL = 0.5
"""Seconds between two looks for slow connections, and for changed keys."""
SWITCH_INTERVAL = 0.0005
"""Seconds a thread may hold the interpreter while another waits: the event loop and the engine take turns."""


def run_worker(plan: WorkerPlan, listening: socket.socket, table: int | None, ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT, finish what is under way, and return the signal.

    Args:
        listening: bound and listening.
        table: descriptor of the table of metrics that workers share; None for one of its own.
        ready: called once requests are answered.

    Raises:
        OnwardError: the store can't be opened, the model can't be loaded.
    """
    _prepare(plan)
    service = build_service(plan, table)
    if plan.workers == 1 and plan.first is not None:
        take_over(service.store, plan.first)
    server = _Server(service, plan, listening, ready)
    server.run(sockets=[listening])
    service.close()
    return server.signal or signal.SIGTERM


def build_service(plan: WorkerPlan, table: int | None) -> Service:
    """The parts of a worker, loaded and connected."""
    store = open_store(plan.store, plan.settings.impressions, retention=plan.settings.retention)
    try:
        metrics = Metrics(table, plan.number)
        shelf = Shelf(store, plan.settings, plan.models, plan.model)
        deployer = Deployer(store, shelf, f"{plan.name}/{plan.number}")
        deployer.start(plan.first)
    except BaseException:
        store.close()
        raise
    return Service(store, plan.settings, deployer, Keys(store), metrics, plan.number)


def _prepare(plan: WorkerPlan) -> None:
    import torch

    log_to_stderr()
    # a worker's share of the cores but one, on which connections are answered: on two cores a tenth more lists, and
    # half the latency at a fixed rate
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.workers - 1))
    sys.setswitchinterval(SWITCH_INTERVAL)


class _Server(uvicorn.Server):
    """uvicorn's server: our connections, our signals."""

    def __init__(self, service: Service, plan: WorkerPlan, listening: socket.socket, ready: Callable[[], None]) -> None:
        self._service, self._ready = service, ready
        app, lanes = create_app(service, plan.workers, plan.page)
        self._connections = Connections(plan.settings.connections, service.metrics, lanes)
        self.signal = 0
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=self._connections.protocol(),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=round(plan.settings.connections.idle_seconds),
            timeout_graceful_shutdown=DRAIN,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._refresh_keys())]
        gc.collect()
        gc.freeze()  # what was loaded stays: later collections pass over it
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(INTERVAL)
            await self._connections.sweep(loop.time())
            self._service.metrics.gauge("queue", self._service.batcher.waiting)

    async def _refresh_keys(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            with suppress(StoreError):  # those of before hold until the store is back
                await asyncio.to_thread(self._service.keys.refresh)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT begin the drain, and don't end the process when it is done."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: int) -> None:
        self._service.drain()
        self.signal = number
        self.should_exit = True
        late = threading.Timer(GIVE_UP, os._exit, [1])
        late.daemon = True
        late.start()


def main() -> None:
    """A worker of several: told what to do on standard input, which stays open as long as its parent lives."""
    plan = WorkerPlan.model_validate_json(sys.stdin.readline())
    listening, table = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        run_worker(plan, listening, table, lambda: print("ready", flush=True))
    except OnwardError as error:
        said = Refusal(code=error.code, message=error.message, hint=error.hint, exit_code=error.exit_code)
        print(said.model_dump_json(), flush=True)
        sys.exit(f"worker {plan.number}: {error}")


def _follow_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
