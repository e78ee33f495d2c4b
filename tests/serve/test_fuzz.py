"""Whatever is sent, the answer is as described and never a 5xx."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from server_helpers import Server

EXAMPLES = [pytest.param(8, id="8"), pytest.param(100, id="100", marks=pytest.mark.full)]
BODIES = [pytest.param(500, id="500"), pytest.param(10_000, id="10000", marks=pytest.mark.full)]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fuzz"), models / "first", "--models", str(models)) as running:
        yield running


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("examples", EXAMPLES)
def test_answers_are_as_described(server: Server, examples: int, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [made.ok() for made in schema.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:
        if mode == GenerationMode.NEGATIVE and not _can_be_wrong(operation):
            continue

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(mode))
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        check()


def _can_be_wrong(operation: Any) -> bool:
    """Whether the schema rules anything out; an archive is any bytes."""
    return bool(operation.body or operation.query or operation.path_parameters) and operation.path != "/v1/models"


VALID: dict[str, list[dict[str, Any]]] = {
    "/v1/events": [
        {"id": "1", "user": "a", "item": "3", "time": 1_700_000_000_000_000, "action": "view", "value": 1.5},
        {"events": [{"session": "s", "item": "4", "group": "g", "request_id": "r"}]},
    ],
    "/v1/recommendations": [
        {"user": "a", "k": 5, "reasons": True, "at": "2026-01-01T00:00:00Z"},
        {"history": ["1", {"item": "2", "time": 5, "action": "x"}], "rules": {"where": "price < 2 and not (x = 1)"}},
        {"requests": [{"session": "s", "rules": {"at_most": {"x": 1}, "boost": {"1": 2.0}, "pinned": ["7"]}}]},
    ],
    "/v1/items": [{"id": "x", "features": {"price": 3, "tags": ["a", "b"], "deep": {"a": [1]}}}],
    "/v1/shown": [{"request_id": "r", "user": "a", "items": ["1", "2"]}],
    "/v1/clicks": [{"request_id": "r", "user": "a", "item": "1"}],
}
ODD: list[Any] = [
    None, True, -1, 0, 10**30, 1e308, -0.0, "", " ", "\x00", "é" * 300, "\U0001f600", "a" * 100_000, [], {}, [[]],
    [None] * 2_000, {"a": {"a": {"a": 1}}}, "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00-23:59", "NaN",
    "\ud800", "price <", "(" * 500, "not " * 400, 'x in ["a", "b"]',
]  # fmt: skip


def mutated(rng: random.Random, value: Any) -> Any:
    """A JSON value with some of its parts replaced, lost, doubled or renamed."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(value, dict):
        made = {key: mutated(rng, part) for key, part in value.items() if rng.random() > 0.05}
        if rng.random() < 0.05:
            made[rng.choice(["user", "session", "history", "requests", "events", "k", "odd", "__proto__"])] = 1
        return made
    if isinstance(value, list):
        return [mutated(rng, part) for part in value for _ in range(rng.choice([1, 1, 1, 2]))]
    return value


def broken(rng: random.Random, body: bytes) -> bytes:
    """Bytes with some changed, cut off or doubled."""
    place = rng.randrange(len(body) + 1)
    choice = rng.randrange(4)
    if choice == 0:
        return body[:place]
    if choice == 1:
        return body[:place] + rng.randbytes(3) + body[place:]
    if choice == 2:
        return body[:place] + body[place:].replace(b'"', b"", 1)
    return b"[" * rng.randrange(50_000) + body


@pytest.mark.parametrize("bodies", BODIES)
def test_no_body_is_answered_by_a_fault(server: Server, bodies: int) -> None:
    rng = random.Random(4)
    seen: set[int] = set()
    with server.client() as http:
        for _ in range(bodies):
            path = rng.choice(list(VALID))
            body = json.dumps(mutated(rng, rng.choice(VALID[path])), ensure_ascii=rng.random() < 0.5)
            sent = body.encode(errors="surrogatepass")
            sent = broken(rng, sent) if rng.random() < 0.3 else sent
            answer = http.post(path, content=sent, headers={"content-type": "application/json"})
            assert answer.status_code < 500, (path, sent[:2_000], answer.text, server.log.read_text()[-1_000:])
            assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"
            seen.add(answer.status_code)
    assert {200, 422} <= seen
