"""The API of a running server: what goes in, what comes out, and how it says no."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_helpers import Server

from onward.cli.serve import Serving
from onward.serve.api.security import HEADERS


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def list_for(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def items(body: dict[str, Any]) -> list[str]:
    return [one["item"] for one in body["items"]]


def send(http: httpx.Client, *events: dict[str, Any]) -> list[str]:
    answer = http.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return [one["status"] for one in answer.json()["results"]]


def test_the_next_list_knows_the_click(http: httpx.Client) -> None:
    before = list_for(http, user="ann", k=3)
    assert before["fallback"]
    assert before["history_events"] == 0
    assert send(http, {"user": "ann", "item": "4", "action": "view"}) == ["stored"]
    after = list_for(http, user="ann", k=3)
    assert items(after)[0] == "5"
    assert (after["history_events"], after["fallback"], after["model"]) == (1, None, "first")
    send(http, {"user": "ann", "item": "9"})
    assert items(list_for(http, user="ann", k=3))[0] == "10"


def test_a_session_is_not_the_user_of_that_name(http: httpx.Client) -> None:
    send(http, {"session": "bob", "item": "7"})
    assert items(list_for(http, session="bob"))[0] == "8"
    assert list_for(http, user="bob")["history_events"] == 0
    assert list_for(http, user="session:bob")["history_events"] == 1


def test_a_history_in_the_request(http: httpx.Client) -> None:
    assert items(list_for(http, history=["2", "7"], k=1)) == ["8"]
    given = [{"item": "7", "time": "2026-01-01T00:00:00Z"}, {"item": "2", "time": 1_800_000_000_000_000}, "unheard-of"]
    answer = list_for(http, history=given, k=1)
    assert (items(answer), answer["unknown_items"]) == (["3"], 1)


def test_several_lists_are_those_of_single_requests(http: httpx.Client) -> None:
    wanted = [{"history": [str(n)], "k": 4} for n in range(20)]
    answer = http.post("/v1/recommendations", json={"requests": wanted}).json()
    assert [items(one) for one in answer["results"]] == [items(list_for(http, **one)) for one in wanted]
    assert len({one["request_id"] for one in answer["results"]}) == 20


def test_reasons_name_the_events(http: httpx.Client) -> None:
    first = list_for(http, history=["3", "4"], k=1, reasons=True)["items"][0]
    assert first["reasons"][0]["item"] in ("3", "4")
    assert list_for(http, history=["3", "4"], k=1)["items"][0]["reasons"] == []


def test_a_model_without_interest_does_not_rank_by_it(http: httpx.Client) -> None:
    answer = http.post("/v1/recommendations", json={"history": ["2"], "rank_by": "interest"})
    assert answer.status_code == 422
    assert "learned no interest" in answer.json()["detail"]
    assert list_for(http, history=["2"], rank_by="score")["items"][0]["interest"] is None
    wrong = {"history": ["2"], "rank_by": "mix", "interest_weight": 1.5}
    assert http.post("/v1/recommendations", json=wrong).status_code == 422


def test_rules_of_a_request(http: httpx.Client) -> None:
    assert "5" not in items(list_for(http, history=["4"], rules={"deny": ["5"]}))
    answer = http.post("/v1/recommendations", json={"history": ["4"], "rules": {"where": 'item = "5" and'}})
    assert (answer.status_code, answer.json()["code"]) == (422, "expression")
    assert answer.json()["position"] > 10
    several = {"requests": [{"history": ["4"]}, {"history": ["4"], "rules": {"where": "nonsense = 1"}}]}
    assert http.post("/v1/recommendations", json=several).status_code == 422


def test_every_event_has_its_own_result(http: httpx.Client) -> None:
    event = {"id": "e1", "user": "cid", "item": "1", "time": 1_700_000_000_000_000}
    assert send(http, event) == ["stored"]
    late = {"id": "e2", "user": "cid", "item": "2", "time": "2026-01-01T12:00:00+02:00"}
    ahead = {"id": "e3", "user": "cid", "item": "3", "time": "2999-01-01T00:00:00Z"}
    assert send(http, event, {**event, "item": "2"}, late, ahead) == ["duplicate", "conflict", "stored", "rejected"]
    history = http.get("/v1/users/cid/history").json()["events"]
    assert [(one["item"], one["time"]) for one in history] == [
        ("1", 1_700_000_000_000_000),
        ("2", 1_767_261_600_000_000),
    ]


def test_items_come_and_go_at_run_time(http: httpx.Client) -> None:
    assert (
        http.post("/v1/items", json={"id": "new/one", "features": {"title": "New", "tags": ["a"]}}).status_code == 200
    )
    assert http.get("/v1/items/new%2Fone").json()["features"] == {"title": "New", "tags": ["a"]}
    assert items(list_for(http, history=["11"], k=1)) == ["12"]
    assert http.delete("/v1/items/12").status_code == 200
    assert http.get("/v1/items/12").json()["deleted"]
    assert items(list_for(http, history=["11"], k=1)) != ["12"]
    assert http.post("/v1/items", json={"items": [{"id": "12"}]}).json() == {"changed": 1}
    assert items(list_for(http, history=["11"], k=1)) == ["12"]


def test_similar_items(http: httpx.Client) -> None:
    answer = http.get("/v1/items/20/similar?k=3").json()
    assert (answer["item"], len(answer["items"])) == ("20", 3)
    assert http.get("/v1/items/nothing/similar").json()["code"] == "no_such_item"


def test_shown_and_clicks_become_click_through(http: httpx.Client) -> None:
    send(http, {"user": "dee", "item": "21"})
    made = list_for(http, user="dee", k=2)
    seen = {"request_id": made["request_id"], "user": "dee", "items": items(made)}
    assert http.post("/v1/shown", json=seen).json() == {"accepted": True}
    click = {"id": "c1", "request_id": made["request_id"], "user": "dee", "item": items(made)[0]}
    assert http.post("/v1/clicks", json=click).json()["results"][0]["status"] == "stored"
    assert http.post("/v1/clicks", json=click).json()["results"][0]["status"] == "duplicate"
    told = http.get("/metrics").text
    assert 'onward_click_clicks{model="first"} 1.0' in told
    assert http.get("/v1/users/dee/history").json()["events"][-1]["action"] == "click"


def test_forgetting_leaves_nothing_and_takes_nothing_older(http: httpx.Client) -> None:
    send(http, {"id": "f1", "user": "eve", "item": "1", "time": 1_700_000_000_000_000})
    receipt = http.delete("/v1/users/eve").json()
    assert receipt["user"] == "eve"
    assert sum(receipt["removed"].values()) >= 1
    assert http.get("/v1/users/eve/history").json()["events"] == []
    assert send(http, {"id": "f2", "user": "eve", "item": "2", "time": 1_700_000_000_000_000}) == ["rejected"]


def test_health_and_metrics(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json()["model"] == "first"
    list_for(http, user="x")
    told = http.get("/metrics").text
    for line in ('onward_recommendation_seconds_bucket{le="+Inf",stage="model"}', 'onward_model{model="first"} 1.0'):
        assert line in told
    count = next(line for line in told.splitlines() if 'requests_total{route="recommendations",status="2xx"}' in line)
    assert float(count.split()[-1]) >= 1


def test_metrics_count_what_operators_look_at(http: httpx.Client) -> None:
    def told() -> dict[str, float]:
        lines = [line for line in http.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = told()
    list_for(http, user="nobody-yet")
    send(http, {"user": "met", "item": "3", "time": time.time_ns() // 1_000 - 3_000_000_000})
    list_for(http, user="met")
    after = told()
    changed = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}
    for stage in ("queue", "history", "model", "rank"):
        assert changed[f'onward_recommendation_seconds_count{{stage="{stage}"}}'] == 2
    assert changed['onward_events_total{outcome="stored"}'] == changed["onward_event_commit_seconds_count"] == 1
    assert changed["onward_event_lag_seconds_sum"] == pytest.approx(3_000, abs=100)
    lists = {name: value for name, value in after.items() if name.startswith("onward_lists_total")}
    assert changed['onward_lists_total{fallback="none"}'] == 1
    share = 1 - lists['onward_lists_total{fallback="none"}'] / sum(lists.values())
    assert after["onward_fallback_share"] == pytest.approx(share)
    assert (after['onward_model{model="first"}'], after["onward_store_up"]) == (1.0, 1.0)
    assert {"onward_queue", "onward_connections", "onward_clicks_unattributed"} <= after.keys()


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/nothing", b"", {}, 404, "not_found"),
        ("GET", "/v1/../../etc/passwd", b"", {}, 404, "not_found"),
        ("GET", "/v1/events", b"", {}, 405, "method"),
        ("PUT", "/v1/recommendations", b"{}", JSON, 405, "method"),
        ("POST", "/v1/events", b"{}", {"content-type": "text/plain"}, 415, "media_type"),
        ("POST", "/v1/events", b"{}", {}, 415, "media_type"),
        ("POST", "/v1/models", b"{}", JSON, 415, "media_type"),
        ("POST", "/v1/events", b" " * 1_100_000, JSON, 413, "too_large"),
        ("POST", "/v1/items", b" " * 1_100_000, JSON, 413, "too_large"),
        ("POST", "/v1/events", b"{", JSON, 422, "invalid"),
        ("POST", "/v1/items", b"[" * 100_000, JSON, 400, "bad_request"),
        ("POST", "/v1/events", b"[" * 100_000, JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "item": "\\ud800"}', JSON, 422, "invalid"),
        ("POST", "/v1/items", b'{"id": "x", "features": {"a": ["\\ud800"]}}', JSON, 422, "data"),
        ("POST", "/v1/events", b'{"user": "a", "item": "a\\u0000b"}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "item": "b", "value": NaN}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "item": "b", "time": 1.5}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "item": "b", "time": "2026-01-01T00:00:00"}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "session": "b", "item": "c"}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "a", "item": "b", "typo": 1}', JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"events": [' + b'{"user":"a","item":"b"},' * 1000 + b"{}]}", JSON, 422, "invalid"),
        ("POST", "/v1/events", b'{"user": "' + b"a" * 257 + b'", "item": "b"}', JSON, 422, "invalid"),
        ("POST", "/v1/recommendations", b'{"user": "a", "k": 0}', JSON, 422, "invalid"),
        ("POST", "/v1/recommendations", b'{"user": "a", "k": 101}', JSON, 422, "invalid"),
        ("POST", "/v1/recommendations", b"{}", JSON, 422, "invalid"),
        ("POST", "/v1/models/nothing/activate", b"{}", JSON, 404, "no_such_model"),
        ("POST", "/v1/models/rollback", b"{}", JSON, 409, "conflict"),
        ("GET", "/v1/users/a/history?limit=0", b"", {}, 422, "invalid"),
        ("GET", "/v1/items/%00", b"", {}, 422, "invalid"),
        ("GET", "/healthz", b"", {"host": "evil.example"}, 400, "host"),
        ("GET", "/healthz", b"", {"host": "127.0.0.1.evil.example"}, 400, "host"),
        ("GET", "/healthz", b"", {"host": "evil.example:80@127.0.0.1"}, 400, "host"),
        ("GET", "/healthz", b"", {"host": "127.0.0.1#evil.example"}, 400, "host"),
        ("POST", "/v1/events", b"{}", {**JSON, "origin": "https://evil.example"}, 403, "origin"),
        ("POST", "/v1/events", b"{}", {**JSON, "sec-fetch-site": "cross-site"}, 403, "origin"),
        ("POST", "/", b"", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403, "origin"),
    ],
)
def test_every_refusal_is_a_problem(
    http: httpx.Client, method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = http.request(method, path, content=body, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    for name, value in HEADERS:
        assert answer.headers[name.decode()] == value.decode()


def test_answers_carry_security_headers_and_the_worker(http: httpx.Client) -> None:
    for path in ("/healthz", "/metrics", "/v1/models"):
        headers = http.get(path).headers
        assert headers["x-onward-worker"] == "0"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_its_own_page_may_ask(http: httpx.Client, server: Server) -> None:
    answer = http.post("/v1/recommendations", json={"user": "a"}, headers={"origin": server.url})
    assert answer.status_code == 200


def test_a_link_on_another_page_may_be_followed(http: httpx.Client) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert http.get("/healthz", headers=followed).status_code == 200


def test_a_body_of_unknown_length_is_limited_on_every_route(http: httpx.Client) -> None:
    for path in ("/v1/events", "/v1/items", "/v1/shown"):
        answer = http.post(path, content=(b" " * 65_536 for _ in range(20)), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_the_description_has_every_route_with_problems(http: httpx.Client) -> None:
    told = http.get("/openapi.json").json()
    assert {"/v1/events", "/v1/recommendations", "/v1/items/{item}/similar", "/readyz"} <= set(told["paths"])
    for methods in told["paths"].values():
        for operation in methods.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert told["components"]["schemas"]["EventIn"]["examples"]


def test_the_log_never_names_a_user(http: httpx.Client, server: Server) -> None:
    secret = "very-private-user"
    send(http, {"user": secret, "item": "1"})
    http.get(f"/v1/users/{secret}/history")
    http.get(f"/v1/users/{secret}/nothing")
    http.post("/v1/recommendations", json={"user": secret, "k": -1})
    with httpx.Client() as other:
        other.get(f"{server.url}/{secret}", headers={"host": "evil"})
    assert secret not in server.log.read_text(encoding="utf-8")


def test_the_store_path_is_never_told(http: httpx.Client, tmp_path: Path, server: Server) -> None:
    told = http.get("/v1/models").text + http.get("/openapi.json").text + http.get("/metrics").text
    assert str(server.store.parent) not in told


def test_what_serve_prints_is_its_payload(server: Server) -> None:
    assert Serving.model_validate(server.started).as_dict() == server.started


def test_mistakes_are_named_with_the_choices(server: Server) -> None:
    with server.client() as http:
        wrong = http.post("/v1/recommendations", json={"usr": "ann"})
        assert (wrong.status_code, wrong.json()["detail"]) == (422, "usr: there is no such field")
        missing = http.post("/v1/models/frist/activate", json={})
        said = "unknown model 'frist'; did you mean 'first'? known: first, second"
        assert (missing.status_code, missing.json()["detail"]) == (404, said)
