"""The cost card: what is recorded, what is measured, and which models no other beats."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_helpers import table_model

from onward.data.sequences import Histories
from onward.evaluate import report_costs
from onward.evaluate.report_costs import Cost, cost_card, frontier, measured, recorded

HISTORIES = Histories.from_lists([[1, 2], [3], [4, 1, 2]], 4)


def test_the_frontier_by_hand():
    costs = [1.0, 2.0, 3.0, 2.0, None, 1.0]
    quality = [0.1, 0.3, 0.2, 0.3, 0.9, 0.05]
    # the third is dearer and worse than the second; two alike are both on it; one without a cost is not; the last
    # costs as much as the first and is worse
    assert frontier(costs, quality) == [True, True, False, True, False, False]
    assert frontier([5.0], [0.0]) == [True]
    assert frontier([], []) == []


def test_a_cost_card_has_the_axes_that_some_model_has():
    card = cost_card([Cost(training_seconds=2.0, parameters=10), Cost(training_seconds=1.0)], [0.3, 0.2])
    assert [axis["key"] for axis in card["axes"]] == ["training_seconds", "parameters"]
    assert card["frontier"] == [["Training", "Parameters"], ["Training"]]
    assert card["models"][1]["parameters"] is None


def test_what_training_recorded():
    cost = recorded({"seconds": 3.5, "parameters": 7, "peak_memory": 3 * 2**20})
    assert (cost.training_seconds, cost.parameters, cost.peak_mib) == (3.5, 7, 3.0)
    assert recorded({}) == Cost()


def test_lists_are_timed_and_weights_weighed(monkeypatch):
    ticks = iter(np.arange(0.0, 1000.0, 0.25))  # every look at the clock is a quarter of a second after the last
    monkeypatch.setattr(report_costs.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(report_costs, "SECONDS", 1e6)
    seen = []
    cost = measured(table_model(HISTORIES), HISTORIES, "exclude", {"seconds": 1.0}, lambda *at: seen.append(at))
    assert seen == [(done, 200) for done in range(1, 201)]
    assert (cost.lists, cost.median_ms, cost.p99_ms) == (200, 250.0, 250.0)
    assert cost.weights_mib == 5 * 5 * 4 / 2**20
    assert cost.training_seconds == 1.0


def test_too_few_lists_have_no_99th_percentile(monkeypatch):
    ticks = iter(np.arange(0.0, 1000.0, 0.25))
    monkeypatch.setattr(report_costs.time, "perf_counter", lambda: float(next(ticks)))
    cost = measured(table_model(HISTORIES), HISTORIES, "exclude", {})
    assert 10 <= cost.lists < report_costs.FEWEST  # 10 seconds' worth
    assert cost.p99_ms is None
    assert cost.median_ms == 250.0


def test_every_list_is_for_one_history_in_turn(monkeypatch):
    model, asked = table_model(HISTORIES), []

    def recommend(histories, k, seen):
        asked.append((len(histories), int(histories.start[0]), k, seen))

    monkeypatch.setattr(model, "recommend", recommend)
    measured(model, HISTORIES, "include", {})
    assert {one[0] for one in asked} == {1}
    assert [one[1] for one in asked[report_costs.WARM :][:4]] == [0, 2, 3, 0]
    assert {one[2:] for one in asked} == {(10, "include")}


@pytest.mark.parametrize("sign", [1, -1])
def test_no_model_beats_one_on_the_frontier(sign):
    rng = np.random.default_rng(0)
    costs, quality = rng.random(40).tolist(), (sign * rng.random(40)).tolist()
    on = frontier(costs, quality)
    for index, kept in enumerate(on):
        beaten = any(c < costs[index] and q > quality[index] for c, q in zip(costs, quality, strict=True))
        assert kept != beaten
