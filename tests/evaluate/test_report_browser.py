"""The report in a real browser: charts are drawn, nothing is fetched, it works by keyboard, on a phone, in the dark.

Needs Chromium (tests/browsing.py).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from report_helpers import evil_comparison, make_comparison, rated_comparison

from onward.evaluate.report import write_report

SERIES = """() => [0, 1, 2].map(number => {
  const probe = document.createElement("i");
  probe.style.color = getComputedStyle(document.documentElement).getPropertyValue(`--s${number}`);
  document.body.append(probe);
  const colour = getComputedStyle(probe).color.match(/\\d+/g).join(",");
  probe.remove();
  return colour;
})"""
"""The colours of the first three models."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_report([make_comparison(folder, "last"), make_comparison(folder, "time")], folder / "report.html")


def test_it_opens_without_network_or_complaints(open_page, report):
    watched = open_page(report.as_uri())
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert watched.requests == [report.as_uri()]
    assert watched.complaints == []


def test_every_chart_is_drawn_in_the_colours_of_its_models(open_page, report):
    watched = open_page(report.as_uri())
    series = set(watched.page.evaluate(SERIES))
    charts = {name: watched.painted(f'[data-chart="{name}"]') for name in ("bars", "curves", "slice")}
    assert {name: len(found) for name, found in charts.items()} == {"bars": 2, "curves": 2, "slice": 4}
    for name, found in charts.items():
        for colours in found:
            assert series <= colours, name


def test_tables_hold_the_numbers_without_scripts(open_page, report):
    watched = open_page(report.as_uri(), java_script_enabled=False)
    results = watched.page.locator("table.results").first
    assert results.locator("tbody tr").count() == 3
    assert "1 min 15 s" in results.inner_text()
    assert watched.page.locator("noscript").count() == 1


def test_another_metric_is_drawn_and_explained(open_page, report):
    page = open_page(report.as_uri()).page
    panel = page.locator("article").first
    before = panel.locator('[data-chart="bars"] canvas').evaluate("c => c.toDataURL()")
    assert "perfect" in panel.locator("[data-meaning]").inner_text()
    panel.locator("[data-metric]").select_option("hr@20")
    assert "first 20" in panel.locator("[data-meaning]").inner_text()
    assert panel.locator('[data-chart="bars"] canvas').evaluate("c => c.toDataURL()") != before


def test_legend_and_axis_work_by_keyboard(open_page, report):
    watched = open_page(report.as_uri())
    page = watched.page
    panel = page.locator("article").first
    button = panel.locator('[data-legend="history_length"] button').first
    hidden = watched.page.evaluate(SERIES)[0]
    assert all(hidden in colours for colours in watched.painted("#c1 [data-slice='0']"))
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    assert not any(hidden in colours for colours in watched.painted("#c1 [data-slice='0']"))
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "true"
    curve = panel.locator('[data-chart="curves"] canvas')
    before = curve.evaluate("c => c.toDataURL()")
    panel.locator('[data-axis="epoch"]').focus()
    page.keyboard.press("Enter")
    assert panel.locator('[data-axis="seconds"]').get_attribute("aria-pressed") == "false"
    assert curve.evaluate("c => c.toDataURL()") != before


def test_tab_reaches_the_skip_link_first(open_page, report):
    page = open_page(report.as_uri()).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"


def test_charts_have_names_and_headings_are_in_order(open_page, report):
    page = open_page(report.as_uri()).page
    canvases = page.query_selector_all("canvas")
    names = [
        c.evaluate("c => document.getElementById(c.getAttribute('aria-labelledby')).textContent") for c in canvases
    ]
    assert len(names) == 8
    assert all(names)
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_calibration_is_drawn_for_models_of_interest_beside_the_line_of_agreement(open_page, tmp_path, report):
    watched = open_page(write_report(rated_comparison(tmp_path), tmp_path / "report.html").as_uri())
    page = watched.page
    assert watched.complaints == []
    first, second, _ = watched.page.evaluate(SERIES)
    (drawn,) = watched.painted('[data-chart="calibration"]')
    assert {first, second} <= drawn
    page.locator('[data-legend="calibration"] button').first.click()
    (drawn,) = watched.painted('[data-chart="calibration"]')
    assert first not in drawn
    assert second in drawn
    page.locator('section[id$="calibration"] summary').click()
    rows = page.locator('section[id$="calibration"] tbody tr').all_inner_texts()
    assert sum("item-mean" in row for row in rows) > 1
    assert sum("global-mean" in row for row in rows) == 1  # one prediction for all
    assert open_page(report.as_uri()).page.locator('[data-chart="calibration"]').count() == 0


@pytest.mark.parametrize("width", [320, 375, 768])
def test_it_fits_narrow_screens(open_page, report, width):
    watched = open_page(report.as_uri(), viewport={"width": width, "height": 800})
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    watched.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    assert watched.complaints == []


def test_dark_charts_use_dark_colours_also_when_the_theme_changes(open_page, report):
    watched = open_page(report.as_uri())
    light = set(watched.page.evaluate(SERIES))
    watched.page.emulate_media(color_scheme="dark")
    watched.page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(18, 20, 22)'")
    dark = set(watched.page.evaluate(SERIES))
    assert not light & dark
    for colours in watched.painted('[data-chart="bars"]'):
        assert dark <= colours
        assert not light & colours


def test_a_dark_screen_prints_light(open_page, report):
    watched = open_page(report.as_uri(), color_scheme="dark")
    dark = set(watched.page.evaluate(SERIES))
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    light = set(watched.page.evaluate(SERIES))
    assert not light & dark
    assert all(light <= colours for colours in watched.painted('[data-chart="bars"]'))
    watched.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert all(dark <= colours for colours in watched.painted('[data-chart="bars"]'))


def test_print_opens_the_tables_and_hides_the_controls(open_page, report):
    page = open_page(report.as_uri()).page
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("[data-copy]").first.is_visible()
    assert page.locator("table.protocol").first.is_visible()


def test_a_hostile_name_does_nothing(open_page, tmp_path):
    watched = open_page(write_report(evil_comparison(tmp_path), tmp_path / "report.html").as_uri())
    assert watched.complaints == []
    assert len(watched.requests) == 1
    assert watched.page.locator("img").count() == 0
    assert "<img src=x" in watched.page.locator("table.results").inner_text()
