"""Is the order of events known: sorting, ties, and ties whose order gives the answer away."""

from __future__ import annotations

import numpy as np

from onward.data.audit.findings import Case, Finding, Severity, graded, percent, ratio

RESOLUTIONS = {
    "whole days": 86_400_000_000,
    "whole hours": 3_600_000_000,
    "whole minutes": 60_000_000,
    "whole seconds": 1_000_000,
}


def unsorted_input(case: Case) -> Finding:
    """Events stored out of order (never, after `prepare`), and whether the input was."""
    title, effect = "Events out of time order", "A history in the wrong order feeds later events in as earlier ones."
    if case.data.time is None:
        return Finding(
            "unsorted_input",
            title,
            0,
            None,
            None,
            "warning",
            "The events have no times: the order of the rows was taken as the order of events.",
            effect + " Leaks through time can't be looked for.",
            "Name a time column when preparing (--time), or make sure that the file is in order.",
        )
    backward = (np.diff(case.data.time) < 0) & (np.diff(case.owner) == 0)
    number, of = int(backward.sum()), case.data.n_events
    came_unsorted = case.manifest.unsorted_rows or 0
    severity: Severity
    if number:
        found, severity = f"{number:,} events are stored before an earlier one.", "warning"
        advice = "Prepare the data set again: it was written by something else."
    elif came_unsorted:
        number, severity = came_unsorted, "note"
        found = f"{number:,} rows of the input came right after a later one of the same user; `prepare` sorted them."
        advice = "Nothing here. Code that takes this file's order for the order of events would be wrong."
    else:
        found, severity, advice = "The input was in time order.", "ok", ""
    return Finding("unsorted_input", title, number, of, ratio(number, of), severity, found, effect, advice)


def tied_times(case: Case) -> Finding:
    """Events that share their time with another event of the same user."""
    assert case.data.time is not None
    _, positions = case.data.positions()
    number, of = int((case.tie_sizes[positions] > 1).sum()), case.data.n_events
    share = ratio(number, of)
    unit = next((name for name, size in RESOLUTIONS.items() if not (case.data.time % size).any()), "fractions")
    severity: Severity = "ok" if case.grouped else graded(share, 0.01, 1.0)  # what is decided by ties is counted below
    found = f"{number:,} of {of:,} events ({percent(share)}) have the time of another event of the same user"
    found += f"; all times are {unit}." if unit != "fractions" else "."
    return Finding(
        "tied_times",
        "Events at tied times",
        number,
        of,
        share,
        severity,
        found + (" They are declared as groups." if case.grouped else ""),
        "Which of them came first is unknown: their order is that of the input rows, and models learn from it.",
        "" if severity == "ok" else "Use finer times, or declare the events of one moment as a group (--group-ties).",
        {"resolution": unit},
    )


def tied_targets(case: Case) -> Finding:
    """Test requests whose target or history would be another if ties were in another order."""
    test = case.split.test
    if case.split.config.protocol == "time":  # every event of a moment is a target and none is in its history
        number = 0
    else:
        number = int((case.tie_sizes[test.target_start] > test.target_end - test.target_start).sum())
    share = ratio(number, len(test))
    severity = graded(share, 0, 0.02)
    return Finding(
        "tied_targets",
        "Test items that depend on the order of ties",
        number,
        len(test),
        share,
        severity,
        f"{number:,} of {len(test):,} test requests ({percent(share)}) share their time with an event in the history.",
        "Sorting the same file another way gives other test items, so numbers of two tools can't be compared.",
        ""
        if severity == "ok"
        else "Compare only models that read this same data set, or use --protocol time, which ties can't touch.",
    )


def order_leak(case: Case) -> Finding:
    """Tied events of one user that come sorted by item id: the order tells the next item."""
    assert case.data.time is not None
    title = "Tied neighbours whose ids ascend"
    effect = "A sequence model learns 'the next id is a little larger' and scores on it; a live site has no such order."
    if case.grouped:
        return Finding(
            "order_leak", title, 0, 0, None, "ok", "Groups are declared: order inside them is unused.", effect
        )
    rank = case.id_rank[case.data.item]
    step = np.diff(rank)
    tied = (np.diff(case.data.time) == 0) & (np.diff(case.owner) == 0) & (case.owner[1:] >= 0) & (step != 0)
    up, of = int((step[tied] > 0).sum()), int(tied.sum())
    share = ratio(up, of)
    bias = abs((share if share is not None else 0.5) - 0.5)
    severity: Severity = "ok"
    if of >= 20 and bias > 2 / np.sqrt(of):  # half ascend by chance; this is four standard deviations off
        severity = "warning" if bias > 0.2 else "note"
    found = f"In {up:,} of {of:,} neighbouring pairs at one time ({percent(share)}) the second id is the larger one"
    found += "; half would be chance." if of else "."
    advice = (
        "" if severity == "ok" else "Declare the groups: prepare with --group COLUMN (a basket), or with --group-ties."
    )
    return Finding("order_leak", title, up, of, share, severity, found, effect, advice)
