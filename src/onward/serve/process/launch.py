"""Starting a server: an address to listen on, keys where they are needed, and which model serves first."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from onward.errors import ConfigError, ConflictError
from onward.manifest import bundle_folder
from onward.serve.models.deploy import alive_workers
from onward.serve.store.protocol import EventStore

LAST_PORT = 65_535
PORTS = 50
"""Ports that are tried, from the one asked for, until one is free."""
BACKLOG = 2_048
"""Connections that wait to be accepted."""


@dataclass(frozen=True)
class Address:
    """Where a server listens: by a socket for each worker, among which the kernel shares connections out.

    From one socket whichever worker wakes first takes all that came together, and the others have nothing to do.
    """

    listening: list[socket.socket]
    host: str
    port: int

    @property
    def url(self) -> str:
        """What to open."""
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"


def listen(host: str, port: int, workers: int = 1) -> Address:
    """Listen on a port, or on the next free one. Raises ConfigError when there is none, or no such address."""
    if not 0 <= port <= LAST_PORT:
        raise ConfigError(
            f"{port} is no port: they go up to {LAST_PORT}", "for example --port 8000; 0 takes a free one"
        )
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"can't listen on '{host}': {error.strerror}", "for example --host 127.0.0.1") from None
    for tried in range(port, min(port + PORTS, LAST_PORT + 1) if port else 1):
        try:
            listening = [socket.create_server((str(found[0]), tried), family=family, backlog=BACKLOG)]
            free = listening[0].getsockname()[1]
            if workers > 1:  # now that nobody else has it
                listening.pop().close()
                listening = [bind_beside(family, (str(found[0]), free)) for _ in range(workers)]
                for one in listening:
                    one.listen(BACKLOG)
        except PermissionError:
            raise ConfigError(f"port {tried} needs more rights than this user has", "take one above 1023") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"can't listen on '{host}': {error.strerror}", "--host 127.0.0.1") from None
            continue
        return Address(listening, str(found[0]), free)
    raise ConfigError(
        f"ports {port} to {min(port + PORTS - 1, LAST_PORT)} of '{host}' are all taken", "give another --port"
    )


def bind_beside(family: int, address: tuple[str, int]) -> socket.socket:
    """A socket at the address of others; connections are shared out to it once it listens. Raises OSError."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def require_keys(host: str, store: EventStore) -> int:
    """How many keys are good; without one, only loopback may be listened on. Raises ConfigError."""
    good = sum(record.revoked is None for record in store.key_records())
    if not good and not ipaddress.ip_address(host).is_loopback:
        raise ConfigError(
            f"listening on {host} lets other machines in, and the store has no key",
            "make one first: onward keys create NAME --role admin; or listen on 127.0.0.1",
        )
    return good


def model_name(model: Path) -> str:
    """The name of a bundle or run folder; a run's model has the run's name. Raises FormatError when it is neither."""
    folder = bundle_folder(model).resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


@dataclass(frozen=True)
class Choice:
    """The model that a server starts with.

    Attributes:
        model: its name.
        proposed: whether it isn't active yet: it takes over once every worker has loaded and checked it.
        note: how it came to that, where a reader should know.
    """

    model: str
    proposed: bool = False
    note: str = ""


def choose(store: EventStore, name: str | None) -> Choice:
    """Propose the model of the command line, where nothing speaks against it; what is active stays so until
    `take_over`.

    Where other workers are serving on this store already, their model stays. Raises ConfigError without any model.
    """
    now = store.deployment()
    if name is None:
        if now.active is None:
            raise ConfigError("which model? the store names none", "onward serve MODEL")
        return Choice(now.active)
    if now.active == name:
        return Choice(name)
    if now.active is not None and any(worker.state != "draining" for worker in alive_workers(store)):
        others = f"other servers on this store serve '{now.active}', so this one does; activate '{name}' to change all"
        return Choice(now.active, note=others)
    if now.target != name:  # else another server that starts now proposed the same
        if now.target is not None:
            store.withdraw("the server was started again")
        store.propose(name)
    kept = f"the store said '{now.active}' before; it is kept for a rollback" if now.active is not None else ""
    return Choice(name, True, kept)


def take_over(store: EventStore, name: str) -> None:
    """Make the proposed model the active one. Raises ConflictError when another server's choice came between."""
    now = store.deployment()
    if now.active == name:
        return
    if now.target != name:
        raise ConflictError(f"another server on this store chose a model while '{name}' was loaded", "start it again")
    store.flip(now.generation)


def give_up(store: EventStore, name: str) -> None:
    """Take the proposal back: the server didn't start."""
    if store.deployment().target == name:
        store.withdraw("the server that was to serve it did not start")
