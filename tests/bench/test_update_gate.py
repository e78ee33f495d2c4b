"""What the gate of `onward update` lets through on generated worlds (bench/update_gate.py prints the whole table)."""

from __future__ import annotations

from pathlib import Path

import pytest

from update_gate import NEVER, verdicts

WORLDS = 20
GOOD_AT_LEAST = 15


def test_a_good_update_passes_and_bad_ones_do_not(tmp_path: Path) -> None:
    found = verdicts(("good", *NEVER), seed=0, folder=tmp_path)
    assert {kind: gate.passed for kind, gate in found.items()} == {"good": True, **dict.fromkeys(NEVER, False)}


@pytest.mark.full
def test_twenty_worlds(tmp_path: Path) -> None:
    found = [verdicts(("good", *NEVER), seed, folder=tmp_path) for seed in range(WORLDS)]
    passed = {kind: sum(gates[kind].passed for gates in found) for kind in ("good", *NEVER)}
    assert passed["good"] >= GOOD_AT_LEAST
    assert not any(passed[kind] for kind in NEVER)
