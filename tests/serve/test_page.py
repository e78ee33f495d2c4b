"""The page without a browser: its parts, its headers, its forms, and what it refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from server_helpers import Server, make_key, until

from onward.serve.api.metrics import BUCKETS, Metrics
from onward.serve.store.protocol import open_store
from onward.serve.web.moves import Move, gone, moves, summary
from onward.serve.web.samples import Samples, quantile
from onward.serve.web.session import local_path
from onward.serve.web.trying import Wanted, shown_before
from onward.serve.web.words import ago, milliseconds, score

PAGES = ("/", "/operations", "/model", "/catalog", "/users")
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
"""What a browser says that it takes."""


@pytest.fixture(scope="module")
def keyed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with the page and a key of each role."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = {role: make_key(folder / "events.db", role) for role in ("read", "write", "admin")}
    with Server(folder, models / "first", "--models", str(models), page=True) as running:
        yield running, keys


def browser(server: Server) -> httpx.Client:
    """Keeps cookies, as a browser does."""
    return httpx.Client(base_url=server.url, timeout=60)


def token(page: httpx.Response) -> str:
    return re.findall(r'name="csrf" value="(\w+)"', page.text)[0]


def serving(page: httpx.Response) -> str | None:
    """The model that the header of a page names."""
    found = re.findall(r'id="serving".*?Serving </span>([^<]+)</a>', page.text)
    return found[0] if found else None


@contextmanager
def signed_in(server: Server, key: str) -> Iterator[tuple[httpx.Client, str]]:
    """A browser that signed in, and its token."""
    with browser(server) as http:
        form = {"csrf": token(http.get("/sign-in")), "key": key, "next": "/"}
        assert http.post("/sign-in", data=form).status_code == 303
        yield http, token(http.get("/"))


def test_moves() -> None:
    found = moves(["a", "b", "c", "d"], ["b", "x", "a", "d"])
    assert found == [Move("up", 1), Move("new"), Move("down", 2), Move("same")]
    assert summary(found) == "1 new, 1 up, 1 down"
    assert summary(moves(["a"], ["a"])) == "nothing moved"
    assert gone(["a", "b", "c", "d"], ["b", "x", "a", "d"]) == ["c"]


def test_a_quantile_lies_within_its_bucket() -> None:
    counts = [0.0] * (len(BUCKETS) + 1)
    assert quantile(counts, 0.5) is None
    counts[1], counts[3] = 90, 10  # 0.5 to 1 ms, 2 to 3 ms
    assert quantile(counts, 0.5) == pytest.approx(0.0005 + 0.0005 * 50 / 90)
    assert quantile(counts, 0.9) == pytest.approx(0.001)
    assert quantile(counts, 0.95) == pytest.approx(0.0025)
    counts[-1] = 1000
    assert quantile(counts, 0.99) == BUCKETS[-1]


def test_rates_of_what_was_counted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr("onward.serve.web.samples.time", SimpleNamespace(time=lambda: next(clock)))
    metrics = Metrics()
    metrics.count("requests:events:2xx", 1000)  # before
    samples = Samples(metrics)
    metrics.count("requests:recommendations:2xx", 3)
    metrics.count("requests:other:5xx", 2)
    metrics.count("events:stored", 4)
    metrics.count("lists:none", 3)
    metrics.count("lists:popular", 1)
    metrics.observe("stage:total", 0.004)
    rates, seconds = samples.window()
    assert (seconds, rates.requests, rates.events, rates.failed) == (10.0, 0.3, 24.0, 2.0)
    assert rates.fallback == 0.25
    assert rates.quantiles[0] == pytest.approx(0.004)
    assert samples.series() == []
    samples.take()
    ((when, over),) = samples.series()
    assert (when, over.requests) == (120.0, 0.15)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_signing_in_never_leads_elsewhere(target: str) -> None:
    assert local_path(target) == "/"


def test_signing_in_leads_back() -> None:
    assert local_path("/catalog?q=a b") == "/catalog?q=a b"


def test_forms_that_make_no_sense() -> None:
    assert Wanted.parse({"k": "7e9", "user": " "}) == Wanted(None, 10, "", False)
    assert Wanted.parse({"k": "20", "user": "ann", "again": "1"}) == Wanted("ann", 20, "", True)
    assert shown_before('["a", 3, "b"]') == ["a", "b"]
    for text in ("", "{", "7", '{"a": 1}'):
        assert shown_before(text) == []


def test_words() -> None:
    assert [score(value) for value in (5.657, 4.2, 5.0, -0.03, 123.4, 0)] == [
        "5.66",
        "4.20",
        "5.00",
        "−0.0300",
        "123",
        "0.00",
    ]
    assert [milliseconds(value) for value in (None, 0.00042, 0.0031, 1.5)] == ["–", "0.42 ms", "3.1 ms", "1,500 ms"]
    now = 1_800_000_000_000_000
    said = [ago(now - seconds * 1_000_000, now) for seconds in (3, 50, 3600, 2 * 86400, 90 * 86400)]
    assert said == ["just now", "1 min ago", "1 h ago", "2 d ago", "2026-10-17"]


def test_no_page_without_it(server: Server) -> None:
    with server.client() as http:
        assert http.get("/").status_code == 404
        assert http.get("/sign-in").status_code == 404


def test_pages_ask_for_a_key(keyed: tuple[Server, dict[str, str]]) -> None:
    server, _ = keyed
    with browser(server) as http:
        for path in PAGES:
            answer = http.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in?next=%2F")
        fragment = http.get("/operations/now", headers={"HX-Request": "true"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/sign-in")


def test_cookies_are_for_tls_alone_behind_a_proxy_that_ends_it(keyed: tuple[Server, dict[str, str]]) -> None:
    server, _ = keyed
    with browser(server) as http:
        plain = http.get("/sign-in").headers.get_list("set-cookie")
        forwarded = http.get("/sign-in", headers={"X-Forwarded-Proto": "https", "Cookie": ""})
        secure = forwarded.headers.get_list("set-cookie")
    assert len(plain) == len(secure) == 2
    assert all("; HttpOnly" in cookie and "SameSite=strict" in cookie for cookie in [*plain, *secure])
    assert all("; Secure" in cookie for cookie in secure)
    assert not any("; Secure" in cookie for cookie in plain)


def test_headers_let_nothing_inline_run(keyed: tuple[Server, dict[str, str]]) -> None:
    server, keys = keyed
    with signed_in(server, keys["read"]) as (http, _):
        for path in (*PAGES, "/sign-in", "/nothing"):
            answer = http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text), path
        page = http.get("/").text
        for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page):
            found = http.get(asset)
            assert found.status_code == 200
            assert "immutable" in found.headers["cache-control"]
        assert http.get("/assets/..%2Froutes.py").status_code == 404


def test_forms_carry_a_token(keyed: tuple[Server, dict[str, str]]) -> None:
    server, keys = keyed
    with signed_in(server, keys["admin"]) as (http, good), signed_in(server, keys["admin"]) as (other, foreign):
        posts = ("/click", "/visitor", "/operations/activate", "/operations/rollback", "/sign-out")
        for path in posts:
            for csrf in ("", foreign, "é"):
                answer = http.post(path, data={"csrf": csrf, "item": "3", "model": "second"})
                assert answer.status_code == 403, path
        assert http.post("/click", data={"csrf": good, "item": "3"}).status_code == 303
        assert other.post("/sign-out", data={"csrf": foreign}).status_code == 303
        assert other.get("/").status_code == 303


def test_roles_hold_for_the_page(keyed: tuple[Server, dict[str, str]]) -> None:
    server, keys = keyed
    with signed_in(server, keys["read"]) as (reader, csrf):
        assert reader.post("/click", data={"csrf": csrf, "item": "3"}).status_code == 403
    with signed_in(server, keys["write"]) as (writer, csrf):
        assert writer.post("/click", data={"csrf": csrf, "item": "3"}).status_code == 303
        for path in ("/operations/activate", "/operations/rollback"):
            assert writer.post(path, data={"csrf": csrf, "model": "second"}).status_code == 403


def test_a_click_on_the_page_counts_for_its_list(keyed: tuple[Server, dict[str, str]]) -> None:
    server, keys = keyed
    with signed_in(server, keys["write"]) as (http, csrf):
        page = http.get("/?user=carl").text
        request_id = re.findall(r'name="request_id" value="([^"]+)"', page)[0]
        item = re.findall(r'name="item" value="([^"]+)"', page)[0]
        form = {"csrf": csrf, "user": "carl", "item": item, "request_id": request_id, "before": "[]"}
        answer = http.post("/click", data=form, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert f"because of {item}" in answer.text
        asked = {"Authorization": f"Bearer {keys['read']}"}
        (event,) = http.get("/v1/users/carl/history", headers=asked).json()["events"]
        assert (event["item"], event["action"]) == (item, "click")
        metrics = http.get("/metrics", headers={"Authorization": f"Bearer {keys['admin']}"}).text
        (clicks,) = re.findall(r'^onward_click_clicks\{model="first"\} (\S+)', metrics, re.MULTILINE)
        assert float(clicks) >= 1


@pytest.fixture(scope="module")
def fresh(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys and without events; only its anonymous visitors leave any."""
    with Server(tmp_path_factory.mktemp("fresh"), models / "first", page=True) as running:
        yield running


def test_a_fresh_server_says_what_to_do(fresh: Server) -> None:
    with browser(fresh) as http:
        assert "Nobody yet" in http.get("/users").text
        operations = http.get("/operations").text
        assert "No events yet" in operations
        assert "onward store import" in operations
        assert "no list over the API yet" in operations
        page = http.get("/").text
        assert "Nothing yet" in page
        assert "Lately here" not in page


def test_a_path_that_is_not_there(fresh: Server) -> None:
    """People see a page; programs, and whoever asks the API, get a problem."""
    with fresh.client() as http:
        shown = http.get("/nowhere", headers=HTML)
        assert (shown.status_code, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "Nothing here" in shown.text
        assert 'href="/operations"' in shown.text
        assert serving(shown) == "first"
        for path, accept in (("/nowhere", "*/*"), ("/v1/nowhere", "text/html")):
            answer = http.get(path, headers={"Accept": accept})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_pages_of_errors_say_which_model_serves(keyed: tuple[Server, dict[str, str]]) -> None:
    """To those who signed in, on a page; a fragment is for a page that says so already."""
    server, keys = keyed
    with signed_in(server, keys["read"]) as (http, csrf):
        found = [
            http.get("/model?name=nowhere"),
            http.get("/catalog/item?id=nowhere"),
            http.get("/nowhere", headers=HTML),
        ]
        refused = http.post("/click", data={"csrf": csrf, "item": "3"})
        assert [answer.status_code for answer in [*found, refused]] == [404, 404, 404, 403]
        assert {serving(answer) for answer in [*found, refused]} == {"first"}
        assert serving(http.get("/model?name=nowhere", headers={"HX-Request": "true"})) is None
    with browser(server) as http:
        nobody = http.get("/nowhere", headers=HTML)
        assert nobody.status_code == 404
        assert "first" not in nobody.text


def test_without_the_model_that_serves_it_says_so(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path, models / "first", page=True) as server, browser(server) as http:
        with closing(open_store(server.store)) as store:
            store.propose("elsewhere")
            store.flip(store.deployment().generation)
        until(lambda: http.get("/").status_code == 503)
        page = http.get("/")
        assert "Not ready to answer" in page.text
        assert int(page.headers["retry-after"]) >= 1
        assert http.get("/operations").status_code == 200


def test_another_site_can_not_post(fresh: Server) -> None:
    """Without keys: the gate refuses what other pages send, and the token is missing besides."""
    with browser(fresh) as http:
        csrf = token(http.get("/"))
        form = {"csrf": csrf, "item": "3"}
        assert http.post("/click", data=form, headers={"Origin": "https://evil.example"}).status_code == 403
        assert http.post("/click", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert http.post("/click", data=form, headers={"Host": "evil.example"}).status_code == 400
        assert http.post("/click", data={"item": "3"}).status_code == 403
        assert http.post("/click", data=form, headers={"Origin": fresh.url}).status_code == 303
        too_many = {"csrf": csrf, **{f"field{number}": "x" for number in range(50)}}
        assert http.post("/click", data=too_many).status_code == 422
        assert http.post("/click", content=b"\xff\xfe", headers={"Content-Type": "text/plain"}).status_code == 422


def test_a_served_run_shows_what_is_measured_of_it(models: Path, tmp_path: Path) -> None:
    from onward.evaluate.protocol import evaluate

    run = shutil.copytree(models.parent / "runs" / "first", tmp_path / "shop")
    with Server(tmp_path, run, page=True) as running, browser(running) as http:
        before = http.get("/model").text
        evaluate(run)
        after = http.get("/model").text
    assert "Not measured yet" in before
    assert "Not measured yet" not in after
    assert "Predicted: each user&#39;s last event" in after
    peak = re.findall(r"<th scope=.row.>Peak memory</th><td>([^<]+)</td>", after)
    assert len(peak) == 1
    assert re.fullmatch(r"[\d.,]+ [MG]iB", peak[0])
    assert "of 2,400 events" in after
