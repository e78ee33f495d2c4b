"""Features of events: do those that are known at the request give the target away, and do some belong to items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onward.data.arrays import distinct
from onward.data.audit.findings import Case, Finding, Severity, percent, ratio
from onward.data.dataset import FEATURE
from onward.data.sequences import Ints

GIVES_AWAY = 0.5
"""A feature that guesses the target this often, and twice as often as no feature, is taken for a leak."""
SAME = 0.99
"""Share of the items with one value each from which a feature is taken for one of items."""


def request_features(case: Case) -> Finding:
    """What is said to be known of the event to predict: one value a request, and how well it guesses the target.

    The guess is the item that trained most often with the feature's value.
    """
    known = case.manifest.known_at_request
    every = [*case.manifest.event_features, *(role for role in ("action", "value") if role in case.data.columns)]
    plain = _guessed(case, np.zeros(len(case.data.item), dtype=np.int64))
    guessed = {name: _guessed(case, _codes(case, name)) for name in known}
    varied = {name: share for name in known if (share := _varied(case, _codes(case, name)))}
    leaks = [name for name, share in guessed.items() if share > max(GIVES_AWAY, 2 * plain)]
    hidden = ", ".join(name for name in every if name not in known)
    never = f"; {hidden} never is" if hidden else ""
    said = [f"Of the event to predict {', '.join(known) or 'nothing'} is known{never}."]
    said += [
        f"{name} alone guesses {percent(share)} of the targets ({percent(plain)} without it)."
        for name, share in guessed.items()
    ]
    said += [f"{name} differs within {percent(share)} of the groups to predict." for name, share in varied.items()]
    severity: Severity = "warning" if leaks or varied else "ok"
    return Finding(
        "request_features",
        "Event features known at the request",
        len(known),
        len(every),
        ratio(len(known), len(every)),
        severity,
        " ".join(said),
        "A feature that only the event itself brings, such as a price paid, tells the model its own answer; one that "
        "differs within a group is of its items, not of the request.",
        ""
        if severity == "ok"
        else f"Is {' and '.join(dict.fromkeys([*leaks, *varied]))} known before the user acts? Otherwise prepare "
        "again without known_at_request.",
        {f"guessed_by_{name}": share for name, share in guessed.items()} | {"guessed_by_nothing": plain},
    )


def item_features(case: Case) -> Finding:
    """Features of events that have one value an item: in an item table they would be known of the target too."""
    _, positions = case.training.positions()
    item = case.data.item[positions].astype(np.int64)
    often = case.train_counts >= 2
    same = []
    for name in case.manifest.event_features:
        codes = _codes(case, name)[positions]
        pairs = distinct(item * (int(codes.max(initial=0)) + 1) + codes) // (int(codes.max(initial=0)) + 1)
        values = np.bincount(pairs, minlength=len(often))
        if often.any() and float((values[often] == 1).mean()) >= SAME and len(distinct(codes)) > 1:
            same.append(name)
    return Finding(
        "item_features",
        "Event features that belong to items",
        len(same),
        len(case.manifest.event_features),
        ratio(len(same), len(case.manifest.event_features)),
        "note" if same else "ok",
        f"{', '.join(same)} has one value for each item." if same else "No feature of the events repeats its item.",
        "As features of the event they tell nothing that its item doesn't; as features of the item they would describe "
        "the items to choose from, new ones too.",
        f"Give {' and '.join(same)} with --items." if same else "",
    )


def _codes(case: Case, name: str) -> Ints:
    """(N,) int64 a number for each different value of a feature, or of a role."""
    values = case.data.columns[FEATURE + name] if name in case.manifest.event_features else case.data.columns[name]
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        return np.asarray(values, dtype=np.int64)
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def _guessed(case: Case, codes: NDArray[np.int64]) -> float:
    """Share of the test events whose item trained most often with their value."""
    _, positions = case.training.positions()
    size = case.data.n_items + 1
    pairs, counts = np.unique(codes[positions] * size + case.data.item[positions], return_counts=True)
    order = np.lexsort((counts, pairs // size))
    value = pairs[order] // size
    last = np.append(np.diff(value) != 0, True)  # the commonest item of each value
    best = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int64)
    best[value[last]] = pairs[order][last] % size
    _, target = case.test_events
    return float((best[codes[target]] == case.data.item[target]).mean()) if len(target) else 0.0


def _varied(case: Case, codes: NDArray[np.int64]) -> float:
    """Share of the test requests whose targets, a group each, have several values."""
    if not case.grouped:
        return 0.0
    request, target = case.test_events
    change = (np.diff(request) == 0) & (np.diff(codes[target]) != 0)
    several = np.unique(request[1:][change])
    return len(several) / max(len(case.split.test), 1)
