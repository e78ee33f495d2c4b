"""Connections that are slow, silent, endless or too many, while a good client is served."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_helpers import LONGEST, Server, until

SECONDS = 1.0
SETTINGS = f"[connections]\nrequest_seconds = {SECONDS}\nper_address = 60\n[batch]\nqueue = 4\n"
ADDRESSES = [f"127.0.0.{n}" for n in range(2, 8)]
REFUSED = 'onward_connections_closed_total{reason="refused"} '
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("slow"), models / "first", settings=SETTINGS) as running:
        yield running


def connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    made = socket.socket()
    made.settimeout(LONGEST)
    made.bind((source, 0))
    made.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    return made


def rest(connection: socket.socket) -> bytes:
    """What still comes, until the server closes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    connection.close()
    return received


def problem(received: bytes) -> dict[str, object]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    made: dict[str, object] = json.loads(body)
    return made


INCOMPLETE = {
    "silent": b"",
    "line": b"GET /hea",
    "head": HEAD,
    "body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


def test_what_is_never_complete_is_closed(server: Server) -> None:
    """All at once, since each takes its seconds."""
    with ThreadPoolExecutor(len(INCOMPLETE)) as pool:
        found = dict(zip(INCOMPLETE, pool.map(lambda sent: end_of(server, sent), INCOMPLETE.values()), strict=True))
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(INCOMPLETE, "slow")
    assert all(seconds > SECONDS for _, seconds in found.values()), found


def end_of(server: Server, sent: bytes) -> tuple[object, float]:
    """What is said when a request that never comes to its end is ended, and after how many seconds."""
    started = time.monotonic()  # before the server's clock begins: this thread may have to wait
    connection = connect(server)
    connection.sendall(sent)
    return problem(rest(connection))["code"], time.monotonic() - started


def test_trickling_does_not_buy_time(server: Server) -> None:
    connection = connect(server)
    connection.sendall(HEAD)
    connection.settimeout(0.05)
    sent = 0
    while True:
        try:
            connection.sendall(b"X-More: a\r\n")
            sent += 1
            if connection.recv(1000):
                break
        except TimeoutError:
            assert sent < LONGEST / 0.05
        except (BrokenPipeError, ConnectionResetError):
            break
    connection.close()


def trickle(server: Server, each: int) -> None:
    """A good client is served beside so many connections of each address that never complete a request."""
    slow = [connect(server, address) for address in ADDRESSES for _ in range(each)]
    for connection in slow:
        connection.sendall(HEAD[:20])
    with server.client() as http:
        served = [http.post("/v1/recommendations", json={"history": ["4"]}).status_code for _ in range(50)]
        assert served == [200] * 50
    assert all(problem(rest(connection))["code"] == "slow" for connection in slow)
    with server.client() as http:
        told = http.get("/metrics").text
    assert 'onward_connections_closed_total{reason="slow"}' in told


def test_hundreds_of_trickling_connections_leave_a_good_client_served(server: Server) -> None:
    trickle(server, 60)


@pytest.mark.full
def test_thousands_of_trickling_connections_leave_a_good_client_served(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path, models / "first") as running:
        trickle(running, 500)


def test_a_worker_takes_fewer_connections_than_it_has_descriptors(models: Path, tmp_path: Path) -> None:
    limit = 300
    with Server(tmp_path, models / "first", descriptors=limit) as running:
        many = [connect(running, address) for address in ADDRESSES for _ in range(limit // len(ADDRESSES))]
        until(lambda: len(select.select(many, [], [], 0)[0]) >= limit / 2)  # those that were ended at once
        for connection in many:
            connection.close()
        until(lambda: answers(running, "/healthz"))
        with running.client() as http:
            assert http.post("/v1/events", json={"user": "ann", "item": "4"}).status_code == 200
            told = http.get("/metrics").text
    refused = next(line for line in told.splitlines() if line.startswith(REFUSED))
    assert float(refused.removeprefix(REFUSED)) >= limit / 2
    assert "fault" not in running.log.read_text()


def answers(server: Server, path: str) -> bool:
    with server.client() as http:
        try:
            return http.get(path).status_code == 200
        except httpx.TransportError:  # no place is free yet
            return False


def test_an_address_has_only_so_many(server: Server) -> None:
    many = [connect(server, "127.0.0.20") for _ in range(60)]
    one_more = connect(server, "127.0.0.20")
    assert rest(one_more) == b""
    with server.client() as http:
        assert http.get("/healthz").status_code == 200
    for connection in many:
        connection.close()


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "head": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-Long: " + b"a" * 8_000 + b"\r\n"),
    "extension of a chunk": (CHUNKED + b"1;", b"a" * 8_000),
    "trailers": (CHUNKED + b"1\r\n{\r\n0\r\n", b"X-Long: " + b"a" * 8_000 + b"\r\n"),
    "one trailer": (CHUNKED + b"1\r\n{\r\n0\r\nX-Long: ", b"a" * 8_000),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_and_is_no_body_is_refused(server: Server, what: str) -> None:
    begin, more = ENDLESS[what]
    connection = connect(server)
    connection.sendall(begin)
    try:
        for _ in range(100):
            connection.sendall(more)
    except (BrokenPipeError, ConnectionResetError):
        pass
    received = rest(connection)
    assert not received or problem(received)["status"] == 431


def test_a_trailer_is_no_header(server: Server) -> None:
    body = b'{"user": "trail", "item": "4"}'
    connection = connect(server)
    connection.sendall(
        HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\n\r\n" % (len(body), body)
    )
    assert json.loads(rest(connection).rpartition(b"\r\n\r\n")[2])["results"][0]["status"] == "stored"


def test_what_is_no_http_is_refused(server: Server) -> None:
    for sent in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"\x00" * 100):
        connection = connect(server)
        connection.sendall(sent)
        received = rest(connection)
        assert problem(received)["status"] in (400, 404, 408)


@pytest.mark.parametrize("first", [HEAD, b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n"])
def test_two_hosts_are_refused(server: Server, first: bytes) -> None:
    connection = connect(server)
    connection.sendall(first + b"Host: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}")
    received = rest(connection)
    assert (problem(received)["status"], problem(received)["code"]) == (400, "http")
    assert received.count(b"HTTP/1.1 ") == 1


def test_requests_may_follow_each_other_in_one_connection(server: Server) -> None:
    connection = connect(server)
    one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    connection.sendall(one * 5 + one[:-2] + b"Connection: close\r\n\r\n")
    assert rest(connection).count(b'{"status":"ok"}') == 6


def test_a_body_larger_than_it_said_nothing_of_is_refused(server: Server) -> None:
    connection = connect(server)
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    try:
        for _ in range(40):
            connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    received = connection.recv(65_536)
    assert b" 413 " in received.partition(b"\r\n")[0] + b" "
    connection.close()


def test_more_than_may_wait_is_refused_at_once(server: Server) -> None:
    with server.client() as http:
        answer = http.post("/v1/recommendations", json={"requests": [{"history": ["4"]}] * 100})
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        until(lambda: http.post("/v1/recommendations", json={"history": ["4"]}).status_code == 200)


def post(path: str, body: object, more: bytes = b"") -> bytes:
    sent = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
    )
    return head.encode() + more + b"\r\n" + sent


def test_requests_that_come_in_one_piece_are_answered_in_order(server: Server) -> None:
    connection = connect(server)
    connection.sendall(
        post("/v1/recommendations", {"history": ["4"], "k": 1})
        + b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        + post("/v1/recommendations", {"history": ["4"], "k": 2})
        + post("/v1/events", {"user": "pipe", "item": "4"}, b"Connection: close\r\n")
    )
    first, health, second, stored = [
        json.loads(part.partition(b"\r\n\r\n")[2]) for part in rest(connection).split(b"HTTP/1.1 200 OK")[1:]
    ]
    assert [len(first["items"]), len(second["items"])] == [1, 2]
    assert "items" not in health
    assert stored["results"][0]["status"] == "stored"


@pytest.mark.parametrize(
    "unusual", [b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\nContent-Length: 30\r\n"]
)
def test_an_unusual_request_has_the_usual_answer(server: Server, unusual: bytes) -> None:
    body = b'{"user": "odd", "item": "4"  }'
    connection = connect(server)
    connection.sendall(HEAD + b"Connection: close\r\n" + unusual + b"\r\n")
    connection.sendall(b"1e\r\n" + body + b"\r\n0\r\n\r\n" if b"chunked" in unusual else body)
    assert json.loads(rest(connection).rpartition(b"\r\n\r\n")[2])["results"][0]["status"] == "stored"


def test_a_large_body_is_read_whole_and_one_too_large_refused(server: Server) -> None:
    many = {"events": [{"id": f"{n}-{'x' * 200}", "user": "many", "item": "4"} for n in range(1_000)]}
    with server.client() as http:
        told = http.post("/v1/events", json=many).json()["results"]
        assert len(told) == 1_000
        assert {one["status"] for one in told} == {"stored"}
        assert http.post("/v1/events", json={"item": "x" * 2_000_000}).status_code == 413
