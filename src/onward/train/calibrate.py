"""Measure how this machine trains fastest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch

from onward.machine import Machine, is_busy, usable_cores
from onward.models.losses import full_softmax
from onward.preferences import Preferences, machine_key
from onward.threads import team

ROWS, WIDTH, ITEMS = 1024, 64, 4096
"""A part of a batch, and a catalog, of usual size."""
CHUNKS = (128, 256, 512, 1024)
REPEATS = 5
Precision = Literal["float32", "bfloat16"]


class Doctor(Machine):
    """What `onward doctor --json` prints."""

    training: Preferences
    """How this machine trains fastest."""


def calibrate(progress: Callable[[int, int], None] | None = None) -> Preferences:
    """Time the largest part of a training step, the whole-catalog softmax and its gradient, in some seconds.

    First by precision and chunk on one thread, then the best of those on one thread and more.

    Args:
        progress: called with (measurements done, in all).
    """
    busy = is_busy()
    cores = usable_cores()
    counts = sorted({1, max(1, cores // 2), cores})
    speeds: dict[str, float] = {}
    total = 2 * len(CHUNKS) + len(counts)

    def add(name: str, speed: float) -> float:
        speeds[name] = speed
        if progress is not None:
            progress(len(speeds), total)
        return speed

    settings: list[tuple[Precision, int]] = [
        (precision, rows) for precision in ("float32", "bfloat16") for rows in CHUNKS
    ]
    by_setting = {
        (precision, rows): add(f"{precision}, {rows} rows", _speed(precision, rows, 1)) for precision, rows in settings
    }
    softmax, chunk_rows = max(by_setting, key=lambda setting: by_setting[setting])
    by_count = {count: add(f"{count} threads", _speed(softmax, chunk_rows, count)) for count in counts}
    return Preferences(
        machine=machine_key(),
        measured=True,
        busy=busy,
        threads=max(by_count, key=lambda count: by_count[count]),
        softmax=softmax,
        chunk_rows=chunk_rows,
        events_per_second=speeds,
    )


def _speed(precision: Precision, chunk_rows: int, threads: int) -> float:
    """Rows a second of all threads together, each with a part of its own, in the best of some repeats."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(ROWS, WIDTH, generator=generator)
    table, bias = torch.randn(ITEMS, WIDTH, generator=generator) * 0.1, torch.zeros(ITEMS)
    targets, weights = torch.randint(ITEMS, (ROWS,), generator=generator), torch.ones(ROWS)

    def work(_: int) -> None:
        full_softmax(states, table, bias, targets, weights, getattr(torch, precision), chunk_rows)

    best, given = 0.0, torch.get_num_threads()
    torch.set_num_threads(threads)  # a team has no more than PyTorch, which OMP_NUM_THREADS may hold back for now
    try:
        with team(threads, small=True) as members:
            for _ in range(REPEATS):
                started = time.perf_counter()
                members.map(work, range(threads))
                best = max(best, ROWS * threads / (time.perf_counter() - started))
    finally:
        torch.set_num_threads(given)
    return best
