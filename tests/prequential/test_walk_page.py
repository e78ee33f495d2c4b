"""The page of a walk in a real browser: it opens without a network, and its chart shows every policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from walk_helpers import turning_log, walk_run

import onward

COLOURS = """() => ["--s0", "--s1", "--s2"].map((name) => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const colour = getComputedStyle(probe).color.match(/\\d+/g).join(",");
  probe.remove();
  return colour;
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run = walk_run(folder, turning_log(users=12))
    return Path(onward.prequential(run, folder / "walk", every="2d", policies=["never", "full", "full:2"]).report)


def test_it_opens_without_network_or_complaints(open_page, page):
    watched = open_page(page.as_uri())
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert watched.requests == [page.as_uri()]
    assert watched.complaints == []
    width, room = watched.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room


def test_every_policy_is_drawn_and_can_be_hidden(open_page, page):
    watched = open_page(page.as_uri())
    colours = watched.page.evaluate(COLOURS)
    (drawn,) = watched.painted('[data-chart="time"]')
    assert set(colours) <= drawn
    button = watched.page.locator("[data-legend] button").first
    button.focus()
    watched.page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    (drawn,) = watched.painted('[data-chart="time"]')
    assert colours[0] not in drawn
    assert set(colours[1:]) <= drawn
