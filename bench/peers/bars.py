"""What Onward is to reach against its peers on ml-1m with two cores, as ratios within one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import settings
from records import Records

DATA = "ml-1m_sas"
"""The file that the bars are for."""
TRAINING = {(200, "RecTools"): 8.0, (200, "RePlay"): 5.0, (200, "RecBole"): 100.0, (50, "the fastest peer"): 3.0}
"""(Length, peer) to how many times as fast Onward trains."""
EVALUATION = {200: 4_000, 50: 10_000}
"""Length to users a second."""
PEAK_SHARE, PEAK_SHARE_WITHOUT_BF16 = 0.60, 0.38
PREPARATION_SECONDS, ONE_USER_MS = 1.0, 0.4
GRU_EVENTS = 40_000


@dataclass(frozen=True)
class Bar:
    """One bar: what, what is wanted, what was found."""

    what: str
    wanted: str
    found: str
    met: bool


def bars(records: Records) -> Iterator[Bar]:
    """Every bar that the records can answer; none on other data."""
    if not records.of(do="facts", data=DATA):
        return
    for (length, peer), times in TRAINING.items():
        yield from _training(records, length, peer, times)
    yield from _peak(records)
    for length, users in EVALUATION.items():
        found = records.middle("users_per_second", stage=f"length {length}", do="evaluate", library="Onward")
        if found:
            yield Bar(f"evaluation at length {length}, users/s", f"{users:,}", f"{found:,.0f}", found >= users)
    gru = records.middle("events_per_second", stage="length 200", do="train", library="Onward GRU")
    if gru:
        yield Bar("GRU 100 wide, events/s", f"{GRU_EVENTS:,}", f"{gru:,.0f}", gru >= GRU_EVENTS)
    prepared = records.middle("prepare_seconds", stage="length 200", do="prepare", library="Onward")
    if prepared:
        met = prepared <= PREPARATION_SECONDS
        yield Bar("preparation, seconds at most", f"{PREPARATION_SECONDS:g}", f"{prepared:.2f}", met)
    single = records.middle("p50_ms", stage="length 200", do="latency", library="Onward")
    if single:
        yield Bar("one user, median ms at most", f"{ONE_USER_MS:g}", f"{single:.2f}", single <= ONE_USER_MS)


def _training(records: Records, length: int, peer: str, times: float) -> Iterator[Bar]:
    speed = {
        library.name: records.middle("events_per_second", stage=f"length {length}", do="train", library=library.name)
        for library in settings.THROUGHPUT
    }
    rivals = [speed[one.name] or 0.0 for one in settings.THROUGHPUT if one.environment != "onward"]
    rival = speed[peer] if peer in speed else max(rivals)
    mine = speed["Onward"]
    if mine and rival:
        yield Bar(
            f"training at length {length}, times {peer}", f"{times:g}", f"{mine / rival:.1f}", mine / rival >= times
        )


def _peak(records: Records) -> Iterator[Bar]:
    (run,) = records.of(stage="run")
    wanted = PEAK_SHARE if run["machine"]["bf16"] else PEAK_SHARE_WITHOUT_BF16
    facts = records.of(stage="length 200", do="facts")
    speed = records.middle("events_per_second", stage="length 200", do="train", library="Onward")
    peak = records.middle("flops", stage="length 200", do="peak")
    if facts and speed and peak:
        share = speed * facts[0]["flops_per_event"] / peak
        yield Bar("FLOPs of training at length 200, of the fp32 peak", f"{wanted:.0%}", f"{share:.0%}", share >= wanted)
