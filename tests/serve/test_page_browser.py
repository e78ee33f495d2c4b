"""The live page in a real browser: clicking, keyboard, phone, dark, signing in, and what it says when nothing is there.

Needs Chromium (tests/browsing.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from page_helpers import make_shelf
from server_helpers import Server, make_key, until

from browsing import Watched

Open = Callable[..., Watched]
PAGES = ("/", "/?user=ann", "/operations", "/model", "/catalog", "/catalog/item?id=3", "/users", "/users?id=ann")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shelf(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def site(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys that `ann` has been to."""
    with Server(tmp_path_factory.mktemp("site"), shelf / "first", "--models", str(shelf), page=True) as running:
        with running.client() as http:
            events = [{"user": "ann", "item": str(item), "action": "view"} for item in range(4)]
            assert http.post("/v1/events", json={"events": events}).status_code == 200
        yield running


@pytest.fixture(scope="module")
def guarded(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with a key of each role."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = {role: make_key(folder / "events.db", role) for role in ("read", "write", "admin")}
    with Server(folder, shelf / "first", "--models", str(shelf), page=True) as running:
        yield running, keys


def titles(page: Any) -> list[str]:
    return page.locator(".choose").all_inner_texts()


def click(page: Any, place: int) -> str:
    """Click the item at a place of the list; returns its title once the new list is there."""
    button = page.locator(f"#choose-{place}")
    title = button.inner_text()
    button.click()
    page.locator(".announce strong", has_text=title).wait_for()
    return title


def follow(page: Any, what: Any) -> None:
    """Click a link or a button that leads to another page, and wait for it: what only counts elements doesn't."""
    with page.expect_navigation():
        what.click()


def sign_in(page: Any, key: str) -> None:
    page.fill("#key", key)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_click_changes_the_list(open_page: Open, site: Server) -> None:
    watched = open_page(site.url)
    page = watched.page
    assert "an anonymous visitor" in page.locator(".persona").inner_text()
    assert "given no event" in page.locator(".fell").inner_text()
    assert page.locator(".history-panel .empty").is_visible()
    assert page.locator(".move").count() == 0
    before = titles(page)
    chosen = click(page, 3)
    after = titles(page)
    number = int(re.findall(r"number (\d+)", chosen)[0])
    assert f"Film number {(number + 1) % 40} (1995)" == after[0]
    assert chosen not in after
    assert page.locator(".move.new").count() == len(set(after) - set(before))
    said = page.locator(".announce").inner_text()
    assert re.search(r"Event stored in [\d.]+ ms, new list in [\d.]+ ms", said)
    assert f"because of {chosen}" in page.locator(".items li").first.inner_text()
    assert page.locator(".timeline .title").all_inner_texts() == [chosen]
    second = click(page, 1)
    assert page.locator(".timeline .title").all_inner_texts() == [second, chosen]
    page.reload()
    assert page.locator(".timeline .title").all_inner_texts() == [second, chosen]
    follow(page, page.get_by_role("button", name="Be a new visitor"))
    assert page.locator(".history-panel .empty").is_visible()
    assert watched.complaints == []
    assert all(url.startswith(site.url) for url in watched.requests)


def test_marks_agree_with_the_lists(open_page: Open, site: Server) -> None:
    page = open_page(f"{site.url}/?user=ann").page
    before = titles(page)
    click(page, 2)
    for place, row in enumerate(page.locator(".items li").all()):
        title, mark = row.locator(".choose").inner_text(), row.locator(".move")
        kind = (mark.get_attribute("class") or "").split()[-1]
        if title not in before:
            assert kind == "new"
        else:
            moved = before.index(title) - place
            assert kind == ("up" if moved > 0 else "down" if moved < 0 else "same")
            if moved:
                assert mark.inner_text().endswith(str(abs(moved)))


def test_marks_stand_beside_scores_on_a_phone(open_page: Open, site: Server) -> None:
    page = open_page(f"{site.url}/?user=ann", viewport={"width": 375, "height": 800}).page
    click(page, 2)
    rows = page.evaluate(  # at one moment: the rows are still on their way to their places
        """() => [...document.querySelectorAll(".items li")].map((row) =>
            [".move", ".meter"].map((name) => row.querySelector(name).getBoundingClientRect().toJSON()))"""
    )
    marked = [(mark, meter) for mark, meter in rows if mark["height"]]  # those that moved
    assert marked
    for mark, meter in marked:
        assert mark["bottom"] <= meter["top"]


def test_it_works_by_keyboard(open_page: Open, site: Server) -> None:
    page = open_page(site.url).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose-1":
            break
    title = page.locator("#choose-1").inner_text()
    page.keyboard.press("Enter")
    page.locator(".announce strong", has_text=title).wait_for()
    page.locator("#choose-1:focus").wait_for()  # ready for the next
    page.keyboard.press("Tab")
    second = page.locator("#choose-2").inner_text()
    page.keyboard.press("Space")
    page.locator(".announce strong", has_text=second).wait_for()


def test_without_scripts_a_click_works_too(open_page: Open, site: Server) -> None:
    page = open_page(site.url, java_script_enabled=False).page
    title = page.locator("#choose-2").inner_text()
    follow(page, page.locator("#choose-2"))
    assert page.locator(".timeline .title").all_inner_texts() == [title]


def test_be_a_user(open_page: Open, site: Server) -> None:
    page = open_page(site.url).page
    page.fill("#user", "ann")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?user=ann")
    assert "user ann" in page.locator(".persona").inner_text()
    assert page.locator(".timeline .chip", has_text="view").count() == 4
    page.goto(f"{site.url}/?user=nobody")
    assert "No events of user nobody" in page.locator(".history-panel").inner_text()
    assert "fallback" in page.locator(".fell").inner_text()
    page.get_by_role("link", name="ann").click()
    page.wait_for_url("**/?user=ann")


def test_rules_and_their_mistakes(open_page: Open, site: Server) -> None:
    watched = open_page(site.url)
    page = watched.page
    where = page.get_by_label("Only where")
    where.fill(where.get_attribute("placeholder"))
    page.select_option("[name=k]", "5")
    follow(page, page.get_by_role("button", name="Apply"))
    assert len(titles(page)) == 5
    assert len(set(page.locator(".features").all_inner_texts())) == 1
    where.fill("class Comedy")
    follow(page, page.get_by_role("button", name="Apply"))
    first, second = page.locator("#where-error code").inner_text().splitlines()
    assert (first, second.index("^")) == ("class Comedy", 6)
    assert where.get_attribute("aria-invalid") == "true"
    where.fill('class = "Comedy" and class != "Comedy"')
    follow(page, page.get_by_role("button", name="Apply"))
    assert "No item passes" in page.locator(".list-panel .empty").inner_text()
    follow(page, page.get_by_role("link", name="Show the list without rules"))
    assert len(titles(page)) == 10
    assert watched.complaints == []


def test_it_says_when_the_server_is_gone(open_page: Open, site: Server) -> None:
    page = open_page(site.url).page
    before = titles(page)
    page.context.set_offline(True)
    page.locator("#choose-1").click()
    page.get_by_role("alert").get_by_text("The server doesn't answer").wait_for()
    assert titles(page) == before
    page.context.set_offline(False)
    click(page, 1)
    assert page.get_by_role("alert").inner_text() == ""


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (
            503,
            "application/problem+json",
            '{"title": "Service Unavailable", "detail": "too many wait"}',
            "too many wait",
        ),
        (502, "text/plain", "a proxy's words", "The server doesn't answer"),
        (503, "text/html", "<p>It is <b>draining</b></p>", "It is draining"),
    ],
)
def test_it_says_why_a_click_failed(
    open_page: Open, site: Server, status: int, kind: str, body: str, said: str
) -> None:
    page = open_page(site.url).page
    page.route("**/click", lambda route: route.fulfill(status=status, content_type=kind, body=body))
    page.locator("#choose-1").click()
    page.get_by_role("alert").get_by_text(said).wait_for()
    assert len(titles(page)) == 10


def test_it_says_when_the_store_is_away(open_page: Open, shelf: Path, tmp_path: Path) -> None:
    with Server(tmp_path, shelf / "first", page=True) as server:
        page = open_page(server.url).page
        click(page, 1)
        before = titles(page)
        server.ruin_store()
        page.locator("#choose-1").click()
        page.get_by_role("alert").get_by_text("The event store doesn't answer").wait_for()
        assert titles(page) == before
        for path in PAGES:
            page.goto(server.url + path)
            assert page.locator("h1").inner_text() == "The event store doesn't answer", path
            said = page.locator("main").inner_text()
            assert "the server's log says why" in said
            assert not any(word in said for word in ("Traceback", "Error", "events.db", "malformed")), path
            assert page.locator("nav a").count() == 5, path


def test_operations_and_switching_models(open_page: Open, site: Server) -> None:
    watched = open_page(f"{site.url}/operations")
    page = watched.page
    page.on("dialog", lambda dialog: dialog.accept())
    assert len(page.locator(".tile").all()) == 6
    assert len(watched.painted("[data-figure]")) == 3
    models = page.locator("#models")
    models.get_by_role("button", name="Activate second").click()
    models.get_by_text("second serves from now on").wait_for()
    assert page.locator("#serving").inner_text().endswith("second")
    assert page.locator("tr.active").inner_text().startswith("second")
    models.get_by_role("button", name="Activate broken").click()
    models.get_by_text("The model was not switched").wait_for()
    assert "second goes on serving" in models.inner_text()
    models.get_by_role("button", name="Roll back to first").click()
    models.get_by_text("first serves from now on").wait_for()
    assert watched.complaints == []


def test_figures_renew_themselves(open_page: Open, site: Server) -> None:
    page = open_page(f"{site.url}/operations").page
    samples = page.locator("#now").get_attribute("data-samples")
    page.locator(f"#now:not([data-samples='{samples}'])").wait_for()


def test_the_models_card(open_page: Open, site: Server) -> None:
    watched = open_page(f"{site.url}/model?name=first")
    page = watched.page
    assert "each user's last event" in page.locator(".lede").first.inner_text()
    painted = watched.painted("[data-bars]")
    assert len(painted) == 3
    assert all(len(colours) > 1 for colours in painted)
    for way in ("NDCG@10 by length of the history", "NDCG@10 by popularity of the target"):
        assert page.get_by_role("img", name=way).is_visible()
    table = page.locator("figure", has_text="by length of the history").locator("table")
    page.get_by_text("The bars, as a table").first.click()
    assert table.locator("tbody tr").first.inner_text().startswith("10–19\t60\t60\t")
    page.get_by_text("What its lists are like, and what was counted").click()
    assert page.get_by_text("Share of the candidate items that appear in some list").first.is_visible()
    page.get_by_text("The exact protocol").first.click()
    assert page.get_by_text("How a target is ranked whose score others share.").first.is_visible()
    page.goto(f"{site.url}/model?name=second")
    assert "Not measured yet" in page.locator("main").inner_text()
    assert watched.complaints == []


def test_looking_up_items(open_page: Open, site: Server) -> None:
    watched = open_page(f"{site.url}/catalog")
    page = watched.page
    page.locator("#q").press_sequentially("number 17")
    page.get_by_text("1 item like 'number 17'").wait_for()
    page.get_by_role("link", name="Film number 17").click()
    page.get_by_role("heading", name="Similar items").wait_for()
    assert "Film number" in page.locator(".results-list").inner_text()
    assert watched.complaints == []
    page.goto(f"{site.url}/catalog?q=Flim+number+17")
    page.get_by_role("link", name="Film number 17").click()
    page.get_by_text("1 item like").wait_for()
    page.goto(f"{site.url}/catalog/item?id=nothing")
    assert "there is no item" in page.locator("main").inner_text().lower()


def test_looking_up_users(open_page: Open, site: Server) -> None:
    watched = open_page(f"{site.url}/users")
    page = watched.page
    page.get_by_role("link", name="ann", exact=True).click()
    assert "Film number 3 (1995)" in page.locator(".timeline").inner_text()
    page.get_by_role("link", name="Recommend for this user").click()
    page.wait_for_url("**/?user=ann")
    page.goto(f"{site.url}/users?id=zoe")
    assert "No events of 'zoe'" in page.locator("main").inner_text()
    assert watched.complaints == []


def test_a_hostile_title_and_user_do_nothing(open_page: Open, site: Server) -> None:
    evil = "<img src=x onerror=alert(1)>\"'{{7*7}}"
    with site.client() as http:
        http.post("/v1/items", json={"id": evil, "features": {"title": evil, "class": evil}})
        http.post("/v1/events", json={"user": evil, "item": evil, "action": evil})
    watched = open_page(f"{site.url}/users")
    page = watched.page
    page.get_by_role("link", name=evil).click()
    assert evil in page.locator(".timeline").inner_text()
    follow(page, page.get_by_role("link", name=evil))
    assert page.locator("h1").inner_text() == evil
    assert page.locator("img").count() == 0
    assert watched.complaints == []
    with site.client() as http:
        http.delete(f"/v1/items/{evil}")


@pytest.mark.parametrize("width", [320, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page: Open, site: Server, width: int, scheme: str) -> None:
    watched = open_page(site.url, viewport={"width": width, "height": 760}, color_scheme=scheme, has_touch=True)
    page = watched.page
    click(page, 1)
    for path in PAGES:
        page.goto(site.url + path)
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
    assert watched.complaints == []


def test_every_page_is_well_formed(open_page: Open, site: Server) -> None:
    page = open_page(site.url).page
    for path in PAGES:
        page.goto(site.url + path)
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
        assert levels[0] == 1, path
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels)), path
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]):not([hidden]),select')]"
            ".filter(field => !field.labels.length).length"
        )
        assert nameless == 0, path
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids)), path
        assert page.locator("nav [aria-current=page]").count() == 1, path


def test_signing_in(open_page: Open, guarded: tuple[Server, dict[str, str]]) -> None:
    server, keys = guarded
    watched = open_page(f"{server.url}/catalog?q=number+7")
    page = watched.page
    assert page.locator("nav").count() == 0
    page.fill("#key", "onward_00000000_" + 43 * "x")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "unknown, or was revoked" in page.locator(".trouble").inner_text()
    watched.complaints.clear()  # the 403 of the wrong key
    sign_in(page, keys["write"])
    assert page.url == f"{server.url}/catalog?q=number+7"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert {"onward_key", "onward_browser", "onward_visitor"} == set(cookies)
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies.values())
    page.goto(server.url)
    click(page, 1)
    page.goto(f"{server.url}/operations")
    assert page.get_by_role("button", name="Activate").count() == 0
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(server.url)
    assert "/sign-in" in page.url
    assert watched.complaints == []


def test_a_read_key_looks_and_an_admin_key_switches(open_page: Open, guarded: tuple[Server, dict[str, str]]) -> None:
    server, keys = guarded
    page = open_page(f"{server.url}/").page
    sign_in(page, keys["read"])
    assert page.locator("#choose-1").is_disabled()
    assert "may read" in page.locator(".foot-note").first.inner_text()
    page = open_page(f"{server.url}/operations").page
    sign_in(page, keys["admin"])
    assert page.get_by_role("button", name="Activate second").is_visible()


def test_a_revoked_key_is_out_at_once(open_page: Open, guarded: tuple[Server, dict[str, str]]) -> None:
    from onward.serve.store.protocol import open_store

    server, _ = guarded
    key = make_key(server.store, "write")
    page = open_page(server.url).page
    sign_in(page, key)
    store = open_store(server.store)
    store.revoke_key(key.split("_")[1])
    store.close()
    with server.client(key) as http:  # keys are read again after half a second
        until(lambda: http.get("/v1/models").status_code == 401)
    page.locator("#choose-1").click()
    page.wait_for_url("**/sign-in")
