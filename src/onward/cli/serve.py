"""`onward serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.payload import Payload


class Serving(Payload):
    """What `onward serve --json` prints once it is ready."""

    format: Literal["onward.serve/1"] = "onward.serve/1"
    """Format and version."""
    url: str
    """Where the server listens; the API is below /v1."""
    model: str
    """The model that serves."""
    store: str
    """Where events are kept."""
    workers: int
    """Processes that answer."""
    keys: int
    """Keys that are good; 0: only programs of this machine are answered, and without a key."""
    seconds: float
    """From the start until ready."""
    notes: list[str]
    """What a reader should know about it."""


def serve(
    model: Annotated[
        Path | None, Parameter(help="A bundle, or a run folder. [default: the model that the store says serves]")
    ] = None,
    /,
    *,
    store: Annotated[str, Parameter(help="SQLite file, or postgresql://... URL, of events and keys.")] = "onward.db",
    host: Annotated[str, Parameter(help="Address to listen on; other than loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port, or the next free one.")] = 8000,
    workers: Annotated[int, Parameter(help="Processes that answer.")] = 1,
    models: Annotated[Path | None, Parameter(help="Folder of models to switch to; uploads go there.")] = None,
    config: Annotated[Path | None, Parameter(help="Settings, a TOML file.")] = None,
    page: Annotated[bool, Parameter(negative="--no-page", help="Serve the live page at /.")] = True,
    as_json: Json = False,
) -> None:
    """Serve a model over HTTP: events in, recommendations out.

    Ctrl-C, or SIGTERM, stops it: requests under way are finished first.

    Example: onward serve runs/sasrec --store shop.db
    """
    import signal
    import time

    started = time.perf_counter()  # before the imports, which take most of the time
    from onward.errors import ConfigError
    from onward.serve.process.server import Started, run_server

    if workers < 1:
        raise ConfigError(f"--workers {workers}: a server has one or more")

    def ready(server: Started) -> None:
        payload = Serving(
            url=server.url,
            model=server.model,
            store=server.store,
            workers=workers,
            keys=server.keys,
            seconds=round(time.perf_counter() - started, 2),
            notes=server.notes,
        )
        emit(payload, as_json, lambda: _print(payload, page))

    if run_server(model, store, host, port, workers, models, config, page, ready) == signal.SIGINT:
        raise KeyboardInterrupt("requests under way were finished first")


def _print(server: Serving, page: bool) -> None:
    out = console()
    out.print(f"[bold]{server.url}[/]{'' if page else '/v1'}   {server.model}, ready after {server.seconds:.1f} s")
    out.print(f"  API     {server.url}/v1, described at {server.url}/openapi.json")
    out.print(f"  events  {server.store}")
    if server.keys:
        out.print(f"  keys    {server.keys}")
    else:
        out.print("  keys    none: answers only programs of this machine (onward keys create)")
    for note in server.notes:
        out.print(f"  note    {note}")
    out.print("Ctrl-C stops it.")
    out.file.flush()
