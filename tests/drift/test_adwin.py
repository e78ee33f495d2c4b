"""What ADWIN finds, with river itself: planted changes, and nothing where there are none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from onward.drift.adwin import changes
from onward.errors import ConfigError, MissingExtraError


def clicks(*pieces: tuple[float, int], seed: int) -> np.ndarray:
    """Lists that are clicked with these chances, so many of each."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.random(count) < rate for rate, count in pieces]).astype(np.float64)


def test_no_alarm_in_twenty_streams_of_four_thousand_alike() -> None:
    assert [changes(clicks((0.3, 4000), seed=seed)) for seed in range(20)] == [[]] * 20


@pytest.mark.parametrize("seed", range(20))
def test_a_click_rate_that_falls_from_30_to_20_percent_is_found(seed: int) -> None:
    found = changes(clicks((0.3, 2000), (0.2, 2000), seed=seed))
    falls = [one for one in found if one.after < one.before]
    assert falls
    first = falls[0]
    assert first.found >= 2000
    assert first.before == pytest.approx(0.3, abs=0.05)
    assert first.after == pytest.approx(0.2, abs=0.05)
    assert 1600 <= first.since <= 2400


def test_a_rise_is_a_change_too() -> None:
    found = changes(clicks((0.2, 2000), (0.4, 1000), seed=1))
    assert found
    assert found[0].after > found[0].before


def test_less_confidence_finds_more() -> None:
    stream = clicks((0.3, 1000), (0.25, 1000), seed=3)
    assert len(changes(stream, 1e-9)) <= len(changes(stream, 0.5))
    assert changes(stream, 0.9)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, float("nan")])
def test_a_delta_is_a_chance(delta: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        changes(np.zeros(3), delta)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river.drift", None)
    with pytest.raises(MissingExtraError, match="'river'") as error:
        changes(np.zeros(3))
    assert "onward[drift]" in error.value.hint
