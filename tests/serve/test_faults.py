"""What goes wrong with servers: killed, stopped, doubled. Nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_helpers import Server, until
from test_store_kills import kill_postgres

from onward.client import Client, ClientError
from onward.serve.process.plan import GIVE_UP

KILLS = [pytest.param(2, id="2"), pytest.param(20, id="20", marks=pytest.mark.full)]
ROUNDS = [pytest.param(100, id="100"), pytest.param(10_000, id="10000", marks=pytest.mark.full)]


class Writers:
    """Clients that store events one by one and remember which were acknowledged."""

    def __init__(self, url: str, first: int, clients: int = 4) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(first, n)) for n in range(clients)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, first: int, number: int) -> None:
        user, place = f"w{first}-{number}", 0
        with httpx.Client(base_url=self._url, timeout=20) as http:
            while not self._stop.is_set():
                event = {"id": f"{user}-{place}", "user": user, "item": str(place)}
                try:
                    answer = http.post("/v1/events", json=event)
                except httpx.TransportError:
                    time.sleep(0.01)  # nobody is there, and others are at work
                    continue
                if answer.status_code == 200:
                    self.acknowledged.append((user, str(place)))
                    place += 1


def stored(store: Path | str) -> set[tuple[str, str]]:
    """(user, item) of every event in a store."""
    from onward.serve.store.protocol import open_store

    opened, found, cursor = open_store(store), set(), 0
    try:
        while True:
            events, after = opened.since(cursor, 10_000)
            if not events:
                return found
            found |= {(event.user, event.item) for event in events}
            cursor = after
    finally:
        opened.close()


@pytest.mark.parametrize("kills", KILLS)
def test_killed_while_writing(models: Path, tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    acknowledged: list[tuple[str, str]] = []
    for turn in range(kills):
        server = Server(tmp_path, models / "first")
        with Writers(server.url, turn) as writers:
            until(lambda writers=writers: len(writers.acknowledged) > rng.randrange(5, 200))
            server.kill()
        acknowledged += writers.acknowledged
    assert set(acknowledged) <= stored(tmp_path / "events.db")


def test_a_stop_finishes_what_is_under_way(models: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, models / "first")
    with Writers(server.url, 0, clients=8) as writers:
        until(lambda: len(writers.acknowledged) > 50)
        assert server.stop() == 0  # it is 1 where that takes longer than GIVE_UP
    assert GIVE_UP < 10
    assert set(writers.acknowledged) <= stored(server.store)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


@pytest.fixture(scope="module")
def two(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers; the last test leaves nothing of them."""
    with Server(tmp_path_factory.mktemp("two"), models / "first", "--workers", "2") as running:
        yield running


def both_workers(server: Server) -> list[httpx.Client]:
    """A connection to each of two workers."""
    found: dict[str, httpx.Client] = {}
    end = time.monotonic() + 60
    while len(found) < 2:
        assert time.monotonic() < end
        http = server.client()
        worker = http.get("/healthz").headers["x-onward-worker"]
        if found.setdefault(worker, http) is not http:
            http.close()
    return [found["0"], found["1"]]


def test_connections_that_come_together_are_shared_out(two: Server) -> None:
    clients = [two.client() for _ in range(40)]
    found = {http.get("/healthz").headers["x-onward-worker"] for http in clients}
    for http in clients:
        http.close()
    assert found == {"0", "1"}


@pytest.mark.parametrize("rounds", ROUNDS)
def test_every_worker_sees_an_acknowledged_event_at_once(two: Server, rounds: int) -> None:
    clients = both_workers(two)
    for turn in range(rounds):
        writer, reader = clients[turn % 2], clients[1 - turn % 2]
        user, item = f"r{rounds}-{turn % 7}", str(turn % 30)
        event = {"user": user, "item": item, "id": f"r{rounds}-{turn}"}
        assert writer.post("/v1/events", json=event).json()["results"][0]["status"] == "stored"
        answer = reader.post("/v1/recommendations", json={"user": user, "k": 1})
        assert answer.headers["x-onward-worker"] == str(1 - turn % 2)
        assert answer.json()["history_events"] == turn // 7 + 1
    for http in clients:
        http.close()


def test_a_worker_that_dies_is_started_again(two: Server) -> None:
    before = two.workers()
    with Writers(two.url, 1) as writers, Client(two.url) as good:
        until(lambda: len(writers.acknowledged) > 20)
        os.kill(before[0], signal.SIGKILL)
        for turn in range(100):  # a client that tries again notices nothing
            assert good.add_event("steady", str(turn), id=f"s{turn}").status in ("stored", "duplicate")
        until(lambda: len(two.workers()) == 2 and before[0] not in two.workers())
        for http in both_workers(two):
            http.close()
    assert set(writers.acknowledged) | {("steady", str(turn)) for turn in range(100)} <= stored(two.store)


def test_two_servers_on_one_file_see_each_other(two: Server, models: Path, tmp_path: Path) -> None:
    (tmp_path / "events.db").symlink_to(two.store)
    port = int(two.url.rpartition(":")[2])
    with (
        Server(tmp_path, models / "second", "--models", str(models), port=port) as other,
        other.client() as there,
        two.client() as here,
    ):
        assert other.started["model"] == "first", "the model of the server that is there already stays"
        assert any(f"port {port} is taken" in note for note in other.started["notes"])
        here.post("/v1/events", json={"user": "both", "item": "4"})
        assert there.post("/v1/recommendations", json={"user": "both"}).json()["history_events"] == 1
        there.post("/v1/events", json={"user": "both", "item": "5"})
        assert here.post("/v1/recommendations", json={"user": "both"}).json()["history_events"] == 2


def test_workers_end_with_their_parent(two: Server) -> None:
    workers = two.workers()
    assert len(workers) == 2
    two.kill()
    until(lambda: not any(_alive(pid) for pid in workers))


def _alive(pid: int) -> bool:
    return subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode == 0


def test_postgresql_killed_under_a_server(
    models: Path, tmp_path: Path, postgres_url: str, postgres_server: Any
) -> None:
    with Server(tmp_path, models / "first", store=postgres_url) as server, server.client() as http:
        with Writers(server.url, 0) as writers:
            until(lambda: len(writers.acknowledged) > 50)
            kill_postgres(postgres_server)
            until(lambda: http.post("/v1/events", json={"user": "a", "item": "1"}).status_code == 503)
            refused = http.post("/v1/recommendations", json={"user": "a"})
            assert (refused.status_code, refused.json()["code"]) == (503, "store")
            assert http.get("/readyz").status_code == 503
            assert http.get("/healthz").status_code == 200
            postgres_server.ensure_postgres_running()
            until(lambda: http.post("/v1/recommendations", json={"user": "a"}).status_code == 200)
            before = len(writers.acknowledged)
            until(lambda: len(writers.acknowledged) > before + 20)
        assert http.get("/readyz").status_code == 200
    assert set(writers.acknowledged) <= stored(postgres_url)


@pytest.mark.usefixtures("small_disks")
def test_a_full_disk_under_a_server(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    server = Server(folder, models / "first", "--models", str(folder / "shelf"), disk=3)
    inside = Path(f"/proc/{server.process.pid}/root{folder}")
    acknowledged: set[tuple[str, str]] = set()
    with server, server.client() as http:

        def send(number: int) -> int:
            event = {"id": f"d{number}", "user": "disk", "item": f"{number}-{'x' * 200}", "group": "y" * 200}
            status = http.post("/v1/events", json=event).status_code
            if status == 200:
                acknowledged.add(("disk", event["item"]))
            return status

        def upload() -> tuple[int, str]:
            kind = {"content-type": "application/x-tar"}
            answer = http.post("/v1/models", content=bytes(1_200_000), headers=kind)  # more than is kept in memory
            return answer.status_code, answer.json()["code"]

        for number in range(20):
            assert send(number) == 200
        assert upload() == (422, "refused")
        with suppress(OSError), (inside / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4_096))
        statuses = [send(number) for number in range(20, 400)]
        assert set(statuses) <= {200, 503}
        assert 503 in statuses
        assert upload() == (503, "output")
        assert http.post("/v1/recommendations", json={"user": "disk"}).json()["unknown_items"] >= 20
        (inside / "filler").unlink()
        until(lambda: send(1_000) == 200)
        history = http.get("/v1/users/disk/history?limit=1000").json()["events"]
    assert acknowledged <= {("disk", event["item"]) for event in history}


def test_a_server_that_cannot_start_says_why(models: Path, tmp_path: Path) -> None:
    from server_helpers import run

    store = ["--store", str(tmp_path / "e.db"), "--port", "0"]
    nothing = run("serve", str(tmp_path / "nowhere"), *store)
    assert (nothing.returncode, "nowhere" in nothing.stderr) == (2, True)
    (tmp_path / "serve.toml").write_text("[limits]\nraet = 1\n", encoding="utf-8")
    unknown = run("serve", str(models / "first"), *store, "--config", str(tmp_path / "serve.toml"))
    assert unknown.returncode == 2
    assert "rate" in unknown.stderr
    assert "Traceback" not in nothing.stderr + unknown.stderr


def test_the_client_says_when_nobody_is_there() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(ClientError, match="is the server running"):
        client.recommend("a")
