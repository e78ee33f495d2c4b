"""Is the test like the training: cold items and users, repeats, popularity, histories too short to predict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onward.data.arrays import distinct
from onward.data.audit.findings import Case, Finding, Severity, graded, percent, ratio
from onward.data.sequences import Ints

TOP = 100


def cold_items(case: Case) -> Finding:
    """Test events on items that were never trained on."""
    _, target = case.test_events
    items = case.data.item[target]
    cold = case.train_counts[items] == 0
    number, different = int(cold.sum()), len(distinct(items[cold]))
    share = ratio(number, len(target))
    severity = graded(share, 0, 0.1)
    return Finding(
        "cold_items",
        "Test events on items unseen in training",
        number,
        len(target),
        share,
        severity,
        f"{number:,} of {len(target):,} test events ({percent(share)}) are on {different:,} items never trained on.",
        f"They count as misses for every model: no hit rate can pass {percent(1 - (share or 0.0))}.",
        ""
        if severity == "ok"
        else "Keep them as misses to see what a live site sees; train often where items are new.",
        {"items": different},
    )


def cold_users(case: Case) -> Finding:
    """Test users without a training event, and requests without any history."""
    test = case.split.test
    users = distinct(test.user)
    number = int((case.split.train_end[users] == case.data.start[users]).sum())
    empty = int((test.history_end == test.history_start).sum())
    share = ratio(number, len(users))
    severity: Severity = "ok" if case.split.config.protocol == "users" else graded(share, 0, 0.5)
    return Finding(
        "cold_users",
        "Test users unseen in training",
        number,
        len(users),
        share,
        severity,
        f"{number:,} of {len(users):,} test users ({percent(share)}) have no training event; "
        f"{empty:,} of {len(test):,} test requests have an empty history.",
        "Models that hold a row for each user know nothing of them; an empty history is answered by popularity.",
        "" if severity == "ok" else "Read the metrics by history length; prefer models that need only a history.",
        {"empty_histories": empty, "empty_history_share": ratio(empty, len(test))},
    )


def repeats(case: Case) -> Finding:
    """Test events whose item is in the history already, against the decision on seen items."""
    request, target = case.test_events
    number = int((case.first[target] < case.split.test.history_end[request]).sum())
    share = ratio(number, len(target)) or 0.0
    seen = case.manifest.seen
    severity: Severity = "ok"
    advice = ""
    if seen == "exclude" and number:
        severity = "warning" if share > 0.01 else "note"
        advice = "Evaluate with --seen include if people come back to the same items here."
    elif seen == "include" and share < 0.01:
        severity = "note"
        advice = "Evaluate with --seen exclude if nobody should get the same item twice."
    effects = {
        "exclude": "Seen items are never recommended, so each of these is a miss for every model.",
        "include": "Seen items may be recommended, so lists can spend places on them.",
    }
    return Finding(
        "repeats",
        "Test events on items of the user's history",
        number,
        len(target),
        share,
        severity,
        f"{number:,} of {len(target):,} test events ({percent(share)}) repeat an item of the history; in training "
        f"{percent(case.manifest.repeat_share)} did, and seen items are set to '{seen}'.",
        effects[seen],
        advice,
        {"seen": seen, "training_share": case.manifest.repeat_share},
    )


def popularity_drift(case: Case) -> Finding:
    """How far the popularity of items in the test is from that in training.

    The Jensen-Shannon distance (base 2, 0 to 1) is compared with that of two samples of the same sizes drawn from
    one distribution: small parts differ by chance alone.
    """
    _, target = case.test_events
    train = case.train_counts[1:]
    test = np.bincount(case.data.item[target], minlength=case.data.n_items + 1)[1:]
    distance = js_distance(train, test)
    chance = _chance_distance(train, test)
    overlap = top_overlap(train, test, TOP)
    excess = distance - chance
    severity: Severity = "warning" if excess > 0.2 else "note" if excess > 0.05 else "ok"
    return Finding(
        "popularity_drift",
        "Distance between training and test popularity",
        round(distance, 4),
        None,
        None,
        severity,
        f"Jensen-Shannon distance {distance:.2f} (chance alone would give {chance:.2f}); {percent(overlap)} of the "
        f"{min(TOP, len(train))} most frequent training items are among the most frequent of the test.",
        "What was popular in training is less so in the test: static popularity and co-occurrence models lose most.",
        "" if severity == "ok" else "Include a recent-popularity baseline (popularity with a half-life); train often.",
        {"chance_distance": round(chance, 4), "top_overlap": overlap},
    )


def js_distance(left: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    """Jensen-Shannon distance of two count vectors: root of the divergence, base 2, from 0 to 1."""
    if not left.sum() or not right.sum():
        return 0.0
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2
    halves = [(part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() for part in (p, q)]
    return float(np.sqrt(max(0.0, sum(halves) / 2)))


def top_overlap(left: Ints, right: Ints, k: int) -> float:
    """Share of the k most frequent of `left` that are among the k most frequent of `right`."""
    size = min(k, len(left))
    tops = [set(np.argsort(-counts, kind="stable")[:size].tolist()) for counts in (left, right)]
    return len(tops[0] & tops[1]) / size if size else 0.0


def _chance_distance(train: Ints, test: Ints) -> float:
    pooled = (train + test) / max(1, train.sum() + test.sum())
    if not pooled.sum():
        return 0.0
    generator = np.random.default_rng(0)
    draws = [generator.multinomial(int(counts.sum()), pooled / pooled.sum()) for counts in (train, test)]
    return js_distance(draws[0], draws[1])


def short_histories(case: Case) -> Finding:
    """Users with too few events to be predicted."""
    lengths = case.data.lengths
    of = int((lengths > 0).sum())
    test = case.split.test
    one = int((test.history_end - test.history_start == 1).sum())
    number = case.split.too_short
    share = ratio(number, of)
    severity = graded(share, 0, 0.3)
    return Finding(
        "short_histories",
        "Users too short to be predicted",
        number,
        of,
        share,
        severity,
        f"{number:,} of {of:,} users ({percent(share)}) have too few events for a target; the median user has "
        f"{int(np.median(lengths[lengths > 0])) if of else 0} events, and {one:,} test requests a history of one.",
        "The test speaks for the longer histories only: newcomers, the hard case, are missing from it.",
        "" if severity == "ok" else "Use --protocol time, which predicts every later event of everyone.",
        {"one_event_histories": one},
    )
