"""Figures and times for people, as the templates' filters."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from onward.evaluate import report_text as text

_STEPS = ((60, "min"), (3600, "h"), (86400, "d"))


def milliseconds(seconds: float | None) -> str:
    """A duration: 0.42 ms, 3.1 ms, 120 ms."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    value = 1000 * seconds
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def score(value: float) -> str:
    """A score, three digits of it: 5.66, 4.20, 0.0312, −12.3."""
    return f"{value:#.3g}".removesuffix(".").replace("-", "−")


def signed(value: float) -> str:
    """A number with its sign: +0.82."""
    return f"{value:+.2f}".replace("-", "−")


def iso(microseconds: int) -> str:
    """For the attribute of <time>."""
    return _time(microseconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(microseconds: int) -> str:
    """A date and time, UTC, to the second."""
    return _time(microseconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(microseconds: int, now: int) -> str:
    """How long since: just now, 5 min ago, 3 h ago, 2 d ago; from a month on, the date."""
    seconds = (now - microseconds) / 1e6
    if seconds < 45:
        return "just now" if seconds > -60 else moment(microseconds)
    if seconds >= 30 * 86400:
        return _time(microseconds).strftime("%Y-%m-%d")
    size, unit = next((size, unit) for size, unit in reversed(_STEPS) if seconds >= size or size == 60)
    return f"{max(1, round(seconds / size))} {unit} ago"


def feature(value: object) -> str:
    """A feature's value: lists with commas, whole floats without their point."""
    if isinstance(value, list | tuple):
        return ", ".join(feature(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(microseconds, 0), 253_402_300_799_000_000) / 1e6, UTC)


FILTERS = {
    "ms": milliseconds,
    "signed": signed,
    "iso": iso,
    "moment": moment,
    "ago": ago,
    "fixed": text.fixed,
    "whole": text.whole,
    "percent": text.percent,
}
