"""A server whose clock is set, and one whose database file is damaged: what it answers, and that nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_helpers import Server, run, until
from test_faults import Writers, stored

HOUR = 3_600


@pytest.fixture(scope="module")
def clocked(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clock tests set; the last one stops it."""
    with Server(tmp_path_factory.mktemp("clock"), models / "first", "--models", str(models), clock=True) as running:
        yield running


def test_events_and_switches_go_by_the_clock_that_is(clocked: Server) -> None:
    event = {"id": "e1", "user": "bob", "item": "1", "time": time.time_ns() // 1_000}
    with clocked.client() as http:
        clocked.set_clock(-HOUR)
        refused = http.post("/v1/events", json=event).json()["results"][0]
        assert (refused["status"], "ahead of the server's clock" in refused["reason"]) == ("rejected", True)
        clocked.set_clock(0)
        assert http.post("/v1/events", json=event).json()["results"][0]["status"] == "stored"
        for ahead, model in ((2 * HOUR, "second"), (-2 * HOUR, "first")):
            clocked.set_clock(ahead)
            assert http.post(f"/v1/models/{model}/activate", json={}).json()["active"] == model
            answer = http.post("/v1/recommendations", json={"user": "bob"}).json()
            assert (answer["model"], answer["history_events"]) == (model, 1)


def test_a_clock_that_jumps_loses_nothing(clocked: Server) -> None:
    def stored_and_seen(number: int) -> None:
        event = {"user": "ann", "item": str(number)}
        assert http.post("/v1/events", json=event).json()["results"][0]["status"] == "stored"
        assert http.post("/v1/recommendations", json={"user": "ann"}).json()["history_events"] == number + 1
        assert http.get("/readyz").status_code == 200

    with clocked.client() as http:
        with Writers(clocked.url, 0, clients=2) as writers:
            for number, ahead in enumerate((0, -HOUR, HOUR, HOUR - 120, -HOUR, 0)):
                clocked.set_clock(ahead)
                stored_and_seen(number)
                before = len(writers.acknowledged)
                until(lambda before=before: len(writers.acknowledged) > before + 2)
        events = http.get("/v1/users/ann/history").json()["events"]
        assert [event["item"] for event in events] == ["1", "4", "0", "5", "2", "3"], "by time, then as they came"
        assert http.get("/metrics").status_code == 200
    assert clocked.stop() == 0
    assert set(writers.acknowledged) <= stored(clocked.store)


def test_a_database_that_is_damaged_under_a_server(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path, models / "first") as server, server.client() as http:
        events = [{"user": "ann", "item": str(number % 30)} for number in range(500)]
        assert http.post("/v1/events", json={"events": events}).status_code == 200
        server.ruin_store()
        for path, body in (
            ("/v1/events", events[0]),
            ("/v1/recommendations", {"user": "ann"}),
            ("/v1/items", {"id": "x"}),
        ):
            answer = http.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "store"), path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
            assert not any(word in answer.text for word in ("events.db", "SQL", "sqlite", "Error", "malformed"))
        assert http.get("/v1/users/ann/history").status_code == http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
        counted = http.get("/metrics").text
        assert "onward_store_up 0.0" in counted
        assert 'onward_requests_total{route="events",status="5xx"} 1.0' in counted
        assert server.stop() == 0
    said = server.log.read_text()
    assert said.count("is corrupt") == 1, "once a minute, not with every request"
    assert "put back the newest backup" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [("serve",), ("store", "stats"), ("keys", "list")])
def test_a_damaged_database_is_refused_with_advice(models: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "events.db"
    stored(file)
    damaged = bytearray(file.read_bytes())
    damaged[4_096:] = b"\xa5" * (len(damaged) - 4_096)
    file.write_bytes(damaged)
    model = (str(models / "first"), "--port", "0") if command == ("serve",) else ()
    refused = run(*command, *model, "--store", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is corrupt" in refused.stderr
    assert "put back the newest backup" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert file.read_bytes() == damaged
