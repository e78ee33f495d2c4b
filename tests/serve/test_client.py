"""The Python client against a running server, and against one that fails on the way."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from server_helpers import Server

import onward
from onward.client import Client, ClientError, Event


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with onward.Client(server.url) as made:
        yield made


def test_events_in_lists_out(client: Client) -> None:
    assert client.ready()
    assert client.add_event("client-ann", "14", action="view").status == "stored"
    made = client.recommend("client-ann", k=3, reasons=True)
    assert (made.items[0].item, made.items[0].position, made.model) == ("15", 1, "first")
    assert made.items[0].reasons[0].item == "14"
    client.shown(made.request_id, "client-ann", [ranked.item for ranked in made.items])
    assert client.clicked(made.request_id, "client-ann", "15").status == "stored"
    assert [event["action"] for event in client.history("client-ann")] == ["view", "click"]
    assert client.recommend(history=["14"], k=1, rules={"deny": ["15"]}).items[0].item != "15"
    assert client.recommend(session="client-new", k=1).fallback
    assert [len(one.items) for one in client.recommend_many(["client-ann", "x"], k=2)] == [2, 2]
    assert client.forget("client-ann")["user"] == "client-ann"


def test_more_events_than_one_request_takes(client: Client) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes = client.add_events(Event("client-many", str(n % 30), when, id=f"many-{n}") for n in range(2_100))
    assert [one.status for one in outcomes] == ["stored"] * 2_100
    assert client.add_events([Event("client-many", "0", when, id="many-0")])[0].status == "duplicate"


def test_the_catalog(client: Client) -> None:
    client.put_item("client/odd item", {"title": "Odd"})
    assert len(client.similar("14", k=2)) == 2
    client.delete_item("client/odd item")
    assert client.models()["deployment"]["active"] == "first"


def test_refusals_say_why(client: Client) -> None:
    with pytest.raises(ClientError, match="one of user, session and history") as error:
        client.recommend()
    assert (error.value.status, error.value.error_code) == (422, "invalid")
    with pytest.raises(ClientError, match="has no zone"):
        client.add_event("a", "1", time=datetime(2026, 1, 1))
    with pytest.raises(ClientError) as missing:
        client.activate("../../etc")
    assert missing.value.status == 404


class _Flaky(http.server.BaseHTTPRequestHandler):
    """Takes an event, then answers as if it had not; the second time it tells the truth."""

    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.seen.append(json.loads(self.rfile.read(length)))
        if len(self.seen) == 1:
            self.close_connection = True
            return
        status = 503 if len(self.seen) == 2 else 200
        ids = [event["id"] for event in self.seen[-1]["events"]]
        results = [{"id": one, "status": "duplicate", "reason": None} for one in ids]
        body = json.dumps({"results": results} if status == 200 else {"detail": "busy", "code": "store"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_trying_again_sends_the_same_event() -> None:
    handler = type("Handler", (_Flaky,), {"seen": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as flaky:
        thread = threading.Thread(target=flaky.serve_forever)
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{flaky.server_port}") as client:
                assert client.add_event("a", "1").status == "duplicate"
        finally:
            flaky.shutdown()
            thread.join()
    assert len(handler.seen) == 3
    assert len({json.dumps(body) for body in handler.seen}) == 1
