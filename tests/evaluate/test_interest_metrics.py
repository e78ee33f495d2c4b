"""Interest metrics on hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_helpers import table_model
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.config import SplitConfig
from onward.data.sequences import Histories
from onward.data.split import split
from onward.evaluate import interest
from onward.evaluate.validate import target_interests, validation_metrics

PREDICTED = np.array([0.9, 0.8, 0.3, 0.1])
OBSERVED = np.array([1.0, 0.5, 0.75, 0.0])


def test_hand_worked_numbers() -> None:
    squared = [0.01, 0.09, 0.2025, 0.01]
    assert interest.mse(PREDICTED, OBSERVED) == pytest.approx(sum(squared) / 4)
    assert interest.mae(PREDICTED, OBSERVED) == pytest.approx((0.1 + 0.3 + 0.45 + 0.1) / 4)
    assert interest.rmse(PREDICTED, OBSERVED) == pytest.approx((sum(squared) / 4) ** 0.5)
    # at 0.75: predicted likes 0, 1; likes 0, 2
    assert interest.accuracy(PREDICTED, OBSERVED, 0.75) == 0.5
    assert interest.precision(PREDICTED, OBSERVED, 0.75) == 0.5
    assert interest.recall(PREDICTED, OBSERVED, 0.75) == 0.5
    assert interest.f1(PREDICTED, OBSERVED, 0.75) == 0.5
    # at 0.2: predicted 0, 1, 2; likes 0, 1, 2
    assert interest.f1(PREDICTED, OBSERVED, 0.2) == interest.accuracy(PREDICTED, OBSERVED, 0.2) == 1.0
    # at 0.85: predicted 0; likes 0
    assert interest.precision(PREDICTED, OBSERVED, 0.6) == 0.5
    assert interest.recall(PREDICTED, OBSERVED, 0.4) == pytest.approx(2 / 3)


def test_no_like_and_no_predicted_like_give_zero_not_nan() -> None:
    low = np.array([0.1, 0.2])
    assert interest.precision(low, low, 0.5) == interest.recall(low, low, 0.5) == interest.f1(low, low, 0.5) == 0.0
    assert interest.accuracy(low, low, 0.5) == 1.0


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="predictions but"):
        interest.mse(PREDICTED, OBSERVED[:2])


def test_ratings_are_scaled_and_clipped_and_four_stars_are_liked() -> None:
    stars = np.array([1, 2, 3, 4, 5, 6, np.nan], dtype=np.float32)
    scaled = interest.scale_values(stars, (1.0, 5.0))
    assert scaled[:6].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    assert np.isnan(scaled[6])
    liked = interest.scale_values(stars[:5], (1.0, 5.0))
    assert interest.recall(np.ones(5), liked, interest.DEFAULT_THRESHOLD) == 1.0
    assert interest.precision(np.ones(5), liked, interest.DEFAULT_THRESHOLD) == 0.4


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1), st.floats(0, 1))
@settings(deadline=None)
def test_metrics_from_totals_are_the_metrics(pairs: list[tuple[float, float]], threshold: float) -> None:
    predicted, observed = np.array(pairs).T
    values = interest.interest_metrics(predicted, observed, threshold)
    assert values["mse"] == pytest.approx(interest.mse(predicted, observed))
    assert values["mae"] == pytest.approx(interest.mae(predicted, observed))
    assert values["rmse"] == pytest.approx(interest.rmse(predicted, observed))
    for name in ("accuracy", "precision", "recall", "f1"):
        assert values[name] == pytest.approx(getattr(interest, name)(predicted, observed, threshold)), name


def rated() -> Histories:
    data = Histories.from_lists([[1, 2, 3, 4], [2, 3, 1, 2], [4, 1, 3, 2]], 4)
    value = np.array([5, 3, 4, 2, 1, 5, 5, np.nan, 3, 3, 3, 1], dtype=np.float32)
    return Histories({**data.columns, "value": value}, data.start, data.end, 4)


def test_targets_without_a_value_and_cold_ones_are_left_out() -> None:
    data = rated()
    divided = split(data, SplitConfig(protocol="last"))
    row, item, predicted, observed = target_interests(table_model(divided.training(data)), data, divided.test)
    # of the targets 4, 2, 2 the second has no value; item 4 was trained on (user 2), item 2 too
    assert row.tolist() == [0, 2]
    assert item.tolist() == [4, 2]
    assert predicted.tolist() == pytest.approx([1.0, 0.5])
    assert observed.tolist() == [0.25, 0.0]


def test_validation_metrics_have_interest_only_where_there_are_values() -> None:
    data = rated()
    divided = split(data, SplitConfig(protocol="last"))
    model = table_model(divided.training(data))
    metrics = validation_metrics(model, data, divided.test, "exclude", ks=(1, 10))
    assert metrics["mse"] == pytest.approx((0.75**2 + 0.5**2) / 2)
    assert {"ndcg@1", "hr@10", "f1@10", "f1", "accuracy@1", "accuracy"} <= set(metrics)
    unrated = Histories({"item": data.item}, data.start, data.end, 4)
    assert "mse" not in validation_metrics(model, unrated, divided.test, "exclude")
    assert validation_metrics(model, data, split(data, SplitConfig(protocol="all")).valid, "exclude") == {}


def test_auc_by_hand() -> None:
    # liked: 0 and 2, predicted 0.9 and 0.3; not: 0.8 and 0.1. Of four pairs three are in order
    assert interest.auc(PREDICTED, OBSERVED, 0.75) == 0.75
    tied = np.array([0.5, 0.5, 0.5, 0.1])
    assert interest.auc(tied, OBSERVED, 0.75) == (0.5 + 1 + 0.5 + 1) / 4
    assert interest.auc(PREDICTED, np.ones(4), 0.75) == 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
@settings(deadline=None)
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[float, bool]]) -> None:
    predicted, liked = np.array([p for p, _ in pairs]), np.array([one for _, one in pairs])
    yes, no = predicted[liked], predicted[~liked]
    wanted = 0.5
    if len(yes) and len(no):
        wanted = float(((yes[:, None] > no) + (yes[:, None] == no) / 2).mean())
    assert interest.auc(predicted, liked.astype(float), 0.5) == pytest.approx(wanted)


def test_log_loss_by_hand_and_for_what_was_held_impossible() -> None:
    predicted, observed = np.array([0.8, 0.4]), np.array([1.0, 0.25])
    wanted = -(np.log(0.8) + 0.25 * np.log(0.4) + 0.75 * np.log(0.6)) / 2
    assert interest.log_loss(predicted, observed) == pytest.approx(wanted)
    assert interest.log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(-np.log(1e-6))


def test_calibration_by_hand() -> None:
    # ten bins of two: predictions 0.1 too high in half of them, right in the others
    predicted = np.repeat(np.arange(10) / 10 + 0.05, 2)
    observed = predicted - np.repeat([0.1, 0.0] * 5, 2)
    observed[::2] += 0.05  # cancels out inside a bin
    observed[1::2] -= 0.05
    values = interest.interest_metrics(predicted, observed)
    assert values["ece"] == pytest.approx(0.05)
    curve = interest.Totals.of(predicted, observed, 0.75, 0.75).curve()
    assert [pairs for *_, pairs in curve] == [2] * 10
    assert curve[0] == (pytest.approx(0.05), pytest.approx(-0.05), 2)


def test_errors_in_units_of_the_value_column() -> None:
    values = interest.interest_metrics(PREDICTED, OBSERVED, value_range=(1.0, 5.0))
    assert values["value_rmse"] == pytest.approx(4 * values["rmse"])
    assert values["value_mae"] == pytest.approx(4 * values["mae"])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
@settings(deadline=None)
def test_no_decision_has_a_better_f1(pairs: list[tuple[float, float]]) -> None:
    predicted, observed = np.array(pairs).T
    best = interest.best_decision(predicted, observed, 0.75)
    liked = interest.scale_values(observed, (0, 1)) >= 0.75 - 1e-9

    def f1(decision: float) -> float:
        said = predicted >= decision
        both = said.sum() + liked.sum()
        return 2 * (said & liked).sum() / both if both else 0.0

    assert f1(best) == pytest.approx(max(f1(p) for p in predicted))
    assert best in predicted


def test_metrics_of_resampled_users_add_up() -> None:
    rng = np.random.default_rng(0)
    predicted, observed, user = rng.random(500), rng.integers(0, 5, 500) / 4, rng.integers(0, 20, 500)
    totals = interest.Totals.of(predicted, observed, 0.75, 0.6, (1.0, 5.0))
    together = totals.metrics(totals.sums(user, 20).sum(axis=0, keepdims=True))[0]
    alone = interest.interest_metrics(predicted, observed, 0.75, 0.6, (1.0, 5.0))
    assert tuple(alone) == totals.names
    for name, value in zip(totals.names, together, strict=True):
        assert value == pytest.approx(alone[name], abs=0.005 if name == "auc" else 1e-9), name


def test_of_events_each_target_stands_beside_another_item() -> None:
    data = rated()
    divided = split(data, SplitConfig(protocol="last"))
    model = table_model(divided.training(data))
    type(model).interest_of = property(lambda self: "events")
    try:
        row, item, _, observed = target_interests(model, data, divided.test)
        again = target_interests(model, data, divided.test)
    finally:
        del type(model).interest_of
    assert row.tolist() == [0, 0, 1, 1, 2, 2]
    assert observed.tolist() == [1, 0] * 3
    assert (item[::2] == [4, 2, 2]).all()
    assert (item[1::2] != item[::2]).all()
    assert (again[1] == item).all()
