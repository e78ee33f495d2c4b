"""Does the training know the test: time, duplicates, filters."""

from __future__ import annotations

import numpy as np

from onward.data.arrays import distinct
from onward.data.audit.findings import Case, Finding, Severity, day, graded, percent, ratio


def time_overlap(case: Case) -> Finding:
    """Users tested at a moment after which other users' events were trained on.

    A user's own training events never come after its own test events, so every later one is another user's.
    Source: Ji, Sun, Zhang, Li, "A Critical Study on Data Leakage in Recommender System Offline Evaluation" (2023).
    """
    assert case.data.time is not None
    _, positions = case.training.positions()
    trained = np.sort(case.data.time[positions])
    later = len(trained) - np.searchsorted(trained, case.test_time, side="right")
    users = distinct(case.split.test.user)
    number = len(distinct(case.split.test.user[later > 0]))
    median = float(np.median(case.test_time))
    after_median = ratio(int((trained > median).sum()), len(trained)) or 0.0
    share = ratio(number, len(users))
    severity = graded(share, 0, 0.01)
    return Finding(
        "time_overlap",
        "Users tested before others' training events",
        number,
        len(users),
        share,
        severity,
        f"{number:,} of {len(users):,} test users ({percent(share)}) are tested before events that were trained on; "
        f"{percent(after_median)} of the training events come after the median test event ({day(median)}).",
        "The model knows what became popular after the moment it predicts for, which no live system does: metrics are "
        "too high, and models that follow trends gain most.",
        ""
        if severity == "ok"
        else "Use --protocol time to judge what a live system would do; keep this one for papers.",
        {
            "training_events_after_median_test": after_median,
            "training_events_after_test_mean": float(later.mean() / len(trained)) if len(trained) else 0.0,
            "median_test": day(median),
        },
    )


def duplicates(case: Case) -> Finding:
    """Test events that lie in their own history too: same user, item and time."""
    assert case.data.time is not None
    request, target = case.test_events
    before = case.before[target]
    inside = (before >= 0) & (before < case.split.test.history_end[request])
    across = int((inside & (case.data.time[before] == case.data.time[target])).sum())
    again = np.flatnonzero(case.before >= 0)
    rows = int((case.data.time[again] == case.data.time[case.before[again]]).sum())
    share = ratio(across, len(target))
    severity: Severity = "warning" if across else "note" if rows else "ok"
    return Finding(
        "duplicates",
        "Test events duplicated in their history",
        across,
        len(target),
        share,
        severity,
        f"{across:,} of {len(target):,} test events ({percent(share)}) have the user, item and time of an event in "
        f"their history; {rows:,} events of the data set repeat an earlier one.",
        "A duplicated row shows the model its own answer, or counts one act twice.",
        "" if severity == "ok" else "Prepare with --duplicates first, unless each row is an act of its own.",
        {"duplicate_events": rows, "policy": case.manifest.duplicates},
    )


def filters(case: Case) -> Finding:
    """Filters that counted the events of the whole log, the test included."""
    lengths, counts = case.data.lengths, case.data.item_counts()[1:]
    fewest_user = int(lengths[lengths > 0].min()) if (lengths > 0).any() else 0
    fewest_item = int(counts[counts > 0].min()) if (counts > 0).any() else 0
    applied = {name: k for name, k in case.manifest.filters.items() if k > 1}
    severity: Severity = "ok"
    found = f"No filter was applied; the fewest events are {fewest_user} a user and {fewest_item} an item."
    advice = ""
    if applied:
        severity = "warning"
        found = f"{', '.join(f'{name} = {k}' for name, k in applied.items())} counted events of the test part too."
        advice = "Prepare without these filters, or say them beside every number."
    elif len(lengths) >= 100 and max(fewest_user, fewest_item) >= 5:
        severity = "note"
        floors = {"user": fewest_user, "item": fewest_item}
        said = " and ".join(
            f"no {name} with fewer than {fewest} events" for name, fewest in floors.items() if fewest >= 5
        )
        found = f"There is {said}: whoever published this data filtered it by the whole log."
        advice = "Don't expect these numbers on unfiltered traffic."
    return Finding(
        "filters",
        "Filters that saw the future",
        len(applied),
        None,
        None,
        severity,
        found,
        "Rare items and short histories, the hard cases, are gone, and that an item stayed says that it will be "
        "consumed again: metrics are too high.",
        advice,
        {"fewest_user_events": fewest_user, "fewest_item_events": fewest_item, **applied},
    )
