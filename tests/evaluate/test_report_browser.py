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
SLICES = 5
"""Two of each evaluation, and by time since the last event where there is more than one gap."""


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
    names = ("bars", "curves", "slice", "pareto", "ranks")
    charts = {name: watched.painted(f'[data-chart="{name}"]') for name in names}
    assert {name: len(found) for name, found in charts.items()} == {
        "bars": 2,
        "curves": 2,
        "slice": SLICES,
        "pareto": 2,
        "ranks": 2,
    }
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


def test_quality_against_another_cost_and_without_a_model(open_page, report):
    watched = open_page(report.as_uri())
    panel = watched.page.locator("article").first
    canvas = panel.locator('[data-chart="pareto"] canvas')
    before = canvas.evaluate("c => c.toDataURL()")
    costs = panel.locator("[data-cost] option").all_inner_texts()
    assert len(costs) == 4
    for cost in costs[1:]:
        panel.locator("[data-cost]").select_option(label=cost)
        after = canvas.evaluate("c => c.toDataURL()")
        assert after != before
        before = after
    first = watched.page.evaluate(SERIES)[0]
    panel.locator('[data-legend="pareto"] button').first.click()
    assert first not in watched.painted("#c1 [data-chart='pareto']")[0]
    assert watched.complaints == []


def test_pointing_at_a_model_says_what_it_costs(open_page, report):
    page = open_page(report.as_uri()).page
    panel = page.locator("article").first
    label, cost = panel.locator("table.costs tbody tr").nth(2).locator("th, td").all_inner_texts()[:2]
    shown = page.evaluate(
        """label => {
          const chart = Chart.getChart(document.querySelector("#c1 [data-chart='pareto'] canvas"));
          const index = chart.data.datasets[0].data.findIndex((one) => one.label === label);
          const { x, y } = chart.getDatasetMeta(0).data[index];
          const box = chart.canvas.getBoundingClientRect();
          return { x: x + box.left + window.scrollX, y: y + box.top + window.scrollY };
        }""",
        label.strip(),
    )
    # at once: the page scrolls smoothly, and where the point is on the screen is asked for next
    page.evaluate("at => window.scrollTo({ top: at.y - 300, behavior: 'instant' })", shown)
    page.mouse.move(shown["x"], shown["y"] - page.evaluate("window.scrollY"))
    said = page.wait_for_function(
        """() => {
          const { tooltip } = Chart.getChart(document.querySelector("#c1 [data-chart='pareto'] canvas"));
          return tooltip.title?.length && [...tooltip.title, ...tooltip.body.flatMap((part) => part.lines)];
        }"""
    ).json_value()
    assert said[0] == label.strip()
    assert said[1].startswith(cost)
    assert said[2].startswith("Training time, seconds: ")


def test_ranks_have_two_views_and_a_table(open_page, report):
    watched = open_page(report.as_uri())
    panel = watched.page.locator("article").first
    canvas = panel.locator('[data-chart="ranks"] canvas')
    before = canvas.evaluate("c => c.toDataURL()")
    panel.locator('[data-view="within"]').press("Enter")
    assert panel.locator('[data-view="bands"]').get_attribute("aria-pressed") == "false"
    assert canvas.evaluate("c => c.toDataURL()") != before
    assert set(watched.page.evaluate(SERIES)) <= watched.painted("#c1 [data-chart='ranks']")[0]
    panel.locator('section[id$="ranks"] summary').click()
    shares = panel.locator('section[id$="ranks"] tbody tr').first.locator("td").all_inner_texts()
    assert all(share.endswith("%") for share in shares)


def test_one_pair_of_models_has_its_examples_at_a_time_and_all_without_scripts(open_page, report):
    panel = open_page(report.as_uri()).page.locator("article").first
    pairs = panel.locator("[data-pairs] option").all_inner_texts()
    assert len(pairs) == 2
    for number, pair in enumerate(pairs):
        panel.locator("[data-pairs]").select_option(label=pair)
        shown = panel.locator(".examples:visible")
        assert {one.get_attribute("data-pair") for one in shown.all()} == {str(number)}
    plain = open_page(report.as_uri(), java_script_enabled=False).page.locator("article").first
    assert plain.locator(".examples:visible").count() == plain.locator(".examples").count() > 1


def test_it_prints_to_pages_with_the_examples_that_were_chosen(open_page, report, tmp_path):
    page = open_page(report.as_uri(), color_scheme="dark").page
    assert page.pdf(path=tmp_path / "report.pdf", format="A4").startswith(b"%PDF")
    page.locator("#c1 [data-pairs]").select_option("1")
    page.emulate_media(media="print")
    shown = page.locator("#c1 .examples:visible").all()
    assert {one.get_attribute("data-pair") for one in shown} == {"1"}
    assert not page.locator("#c1 [data-pairs]").is_visible()


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
    assert len(names) == 8 + SLICES
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
    page.locator('[data-legend="calibration-interest"] button').first.click()
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
    watched.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # scripts
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
    assert page.locator(".on-screen:visible").count() == 0, "the losses of every step would fill pages"


def test_charts_that_were_drawn_for_a_wide_screen_fit_on_paper(open_page, report):
    page = open_page(report.as_uri()).page
    page.emulate_media(media="print")
    for canvas in page.query_selector_all("canvas"):
        shares = canvas.evaluate(
            """canvas => {
              canvas.style.width = "2000px";
              canvas.style.height = "500px";
              const { width, height } = canvas.getBoundingClientRect();
              return [width / canvas.parentElement.clientWidth, width / height, canvas.width / canvas.height];
            }"""
        )
        assert shares[0] == pytest.approx(1, abs=0.01)
        assert shares[1] == pytest.approx(shares[2], rel=0.02), "nothing is stretched"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(open_page, report, scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for what a chart draws."""
    page = open_page(report.as_uri(), color_scheme=scheme).page
    colours = page.evaluate(
        """() => {
          const names = ["page", "card", "faint", "ink", "soft", "accent", "warn", "warn-bg", "good", "good-bg", "note",
                         "note-bg", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
          const probe = document.createElement("i");
          document.body.append(probe);
          return Object.fromEntries(names.map((name) => {
            probe.style.color = `var(--${name})`;
            return [name, getComputedStyle(probe).color.match(/[0-9]+/g).slice(0, 3).map(Number)];
          }));
        }"""
    )

    def luminance(name: str) -> float:
        parts = [value / 255 for value in colours[name]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def ratio(front: str, behind: str) -> float:
        dark, light = sorted((luminance(front), luminance(behind)))
        return (light + 0.05) / (dark + 0.05)

    texts = [(front, behind) for front in ("ink", "soft", "accent") for behind in ("page", "card", "faint")]
    texts += [(kind, f"{kind}-bg") for kind in ("warn", "good", "note")]
    assert {pair: ratio(*pair) for pair in texts if ratio(*pair) < 4.5} == {}
    series = [f"s{number}" for number in range(8)]
    assert {name: ratio(name, "card") for name in series if ratio(name, "card") < 3} == {}


def test_a_hostile_name_does_nothing(open_page, tmp_path):
    watched = open_page(write_report(evil_comparison(tmp_path), tmp_path / "report.html").as_uri())
    assert watched.complaints == []
    assert len(watched.requests) == 1
    assert watched.page.locator("img").count() == 0
    assert "<img src=x" in watched.page.locator("table.results").inner_text()
