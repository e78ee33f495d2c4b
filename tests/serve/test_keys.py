"""Keys: made and revoked on the command line, needed from the first on, each with what its role may do."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from server_helpers import Server, make_key, run, until

from onward.cli.main import main
from onward.serve.api import keys as key_module
from onward.serve.api import limits
from onward.serve.api.keys import Keys, create_key
from onward.serve.api.problems import ApiError
from onward.serve.store.protocol import open_store

RATE = 8
SETTINGS = f"[limits]\nrate = {RATE}\n"


@pytest.fixture(scope="module")
def keyed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with a key of each role, and the keys."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = {role: make_key(folder / "events.db", role) for role in ("read", "write", "admin")}
    with Server(folder, models / "first", "--models", str(models), settings=SETTINGS) as running:
        yield running, keys


def test_the_life_of_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(tmp_path / "events.db")]
    assert main(["keys", "create", "shop", "--role", "write", *store, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["keys", "list", *store]) == 0
    listed = capsys.readouterr().out
    assert made["id"] in listed
    assert "shop" in listed
    secret = made["key"].rpartition("_")[2]
    assert secret not in listed
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert main(["keys", "revoke", made["id"], *store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format": "onward.keys.revoke/1", "id": made["id"]}
    assert main(["keys", "revoke", "no-such", *store]) == 2
    assert made["id"] in capsys.readouterr().err


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "events.db")
    record, key = create_key(store, "x", "read")
    keys = Keys(store)
    assert keys.check(key) is not None
    for wrong in ("", "onward", key[:-1], key + "a", key.upper(), key[:-1] + "é", key.replace(record.id, "0" * 8)):
        assert keys.check(wrong) is None
    store.close()


def test_secrets_are_compared_in_constant_time_whether_or_not_there_is_such_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes, real: Callable[[bytes, bytes], bool] = hmac.compare_digest) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(key_module.hmac, "compare_digest", compare)
    store = open_store(tmp_path / "events.db")
    record, key = create_key(store, "x", "read")
    keys = Keys(store)
    for presented in (key, key[:-2] + "aa", key.replace(record.id, "0" * 8), "nonsense"):
        keys.check(presented)
    assert compared == [(32, 32)] * 4
    store.close()


def test_listening_beyond_this_machine_needs_a_key(models: Path, tmp_path: Path) -> None:
    words = ["serve", str(models / "first"), "--host", "0.0.0.0", "--port", "0", "--store", str(tmp_path / "e.db")]
    done = run(*words)
    assert done.returncode == 2
    assert "onward keys create" in done.stderr


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_a_port_that_there_is_not(port: str, models: Path, tmp_path: Path) -> None:
    done = run("serve", str(models / "first"), "--port", port, "--store", str(tmp_path / "e.db"))
    assert done.returncode == 2
    assert f"{port} is no port: they go up to 65535" in done.stderr
    assert not (tmp_path / "e.db").exists()


def allowed(http: httpx.Client, method: str, path: str, body: dict[str, str] | None) -> int:
    """What is answered once the key's rate lets a request through: others have asked with it."""
    for _ in range(300):
        if (status := http.request(method, path, json=body).status_code) != 429:
            break
        time.sleep(0.1)
    return status


@pytest.mark.parametrize(
    ("method", "path", "body", "least"),
    [
        ("POST", "/v1/recommendations", {"user": "a"}, "read"),
        ("GET", "/v1/models", None, "read"),
        ("GET", "/metrics", None, "read"),
        ("GET", "/v1/users/a/history", None, "read"),
        ("POST", "/v1/events", {"user": "a", "item": "1"}, "write"),
        ("POST", "/v1/clicks", {"user": "a", "item": "1", "request_id": "r"}, "write"),
        ("POST", "/v1/items", {"id": "x"}, "write"),
        ("DELETE", "/v1/items/x", None, "write"),
        ("DELETE", "/v1/users/a", None, "admin"),
        ("POST", "/v1/models/first/activate", {}, "admin"),
    ],
)
def test_roles(
    keyed: tuple[Server, dict[str, str]], method: str, path: str, body: dict[str, str] | None, least: str
) -> None:
    server, keys = keyed
    order = ("read", "write", "admin")
    for role in order:
        with server.client(keys[role]) as http:
            status = allowed(http, method, path, body)
        assert (status < 400) == (order.index(role) >= order.index(least)), (role, status)
        assert status < 400 or status == 403


def test_without_a_good_key_nothing_but_health(keyed: tuple[Server, dict[str, str]]) -> None:
    server, keys = keyed
    wrong = [None, "onward_00000000_" + "a" * 43, keys["read"][:-1] + ("a" if keys["read"][-1] != "a" else "b")]
    for key in wrong:
        with server.client(key) as http:
            assert http.get("/healthz").status_code == 200
            answer = http.post("/v1/recommendations", json={"user": "a"})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert http.get("/v1/nothing").status_code == 401
    with server.client() as http:
        assert http.get("/v1/models", headers={"authorization": "Basic abc"}).status_code == 401


def test_a_key_has_its_rate(keyed: tuple[Server, dict[str, str]]) -> None:
    server, _ = keyed
    with server.client(make_key(server.store, "read")) as http:
        until(lambda: http.get("/v1/models").status_code == 200)
        served = 1
        while (refused := http.get("/v1/models")).status_code == 200 and served < 1_000:
            served += 1
    assert served >= RATE
    assert (refused.status_code, refused.json()["code"]) == (429, "rate")
    assert int(refused.headers["retry-after"]) >= 1


def test_a_key_may_ask_for_a_seconds_worth_at_once_and_its_rate_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all workers: each of two gives half of it."""
    clock = [100.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: clock[0])

    def taken(limit: limits.RateLimit, tries: int, key: str = "a") -> int:
        before = []
        for _ in range(tries):
            with suppress(ApiError):
                limit.take(key)
                before.append(1)
        return len(before)

    alone, half = limits.RateLimit(10, 1), limits.RateLimit(10, 2)
    assert (taken(alone, 50), taken(half, 50)) == (10, 5)
    clock[0] += 0.4
    assert (taken(alone, 50), taken(half, 50)) == (4, 2)
    clock[0] += 60
    assert (taken(alone, 50), taken(half, 50)) == (10, 5), "what wasn't used is not saved up"
    assert taken(alone, 50, "b") == 10
    with pytest.raises(ApiError) as refused:
        alone.take("a")
    assert (refused.value.status, refused.value.code) == (429, "rate")
    assert refused.value.retry_after == pytest.approx(0.1)
    assert (b"retry-after", b"1") in refused.value.headers()
    assert taken(limits.RateLimit(0, 1), 1_000) == 1_000


def test_revoking_counts_for_a_running_server_and_never_opens_it(keyed: tuple[Server, dict[str, str]]) -> None:
    """The last of this file: no key is good after it."""
    server, keys = keyed
    assert server.started["keys"] == 3
    store = open_store(server.store)
    for record in store.key_records():
        store.revoke_key(record.id)
    store.close()
    for key in keys.values():
        with server.client(key) as http:
            until(lambda http=http: http.get("/v1/models").status_code == 401)
    with server.client() as nobody:
        assert nobody.get("/v1/models").status_code == 401
        assert nobody.get("/healthz").status_code == 200
