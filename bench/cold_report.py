"""bench/COLD.md: the table of what bench/cold.py measured."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from onward.evaluate.bootstrap import paired_tests

HEAD = """# Strictly cold items

Written by `python bench/cold.py`: requests for items that training never saw, on three public files (the question of
each is in `bench/cold_files.py`). Mean and standard deviation over seeds; NDCG@10. "Among cold": the cold items are
ranked against each other; "among all": against the trained items too. "Trained": requests that ask for a trained item,
ranked among the trained ones and among all. Chance is what a random order gives. The difference is that from
content-kNN on the same requests of all seeds, with its 95% interval over users.

`tower` is SASRec with the features of the items; cold items take over what the ids of trained items of their looks have
learned, and score by their likeness to those of the history too (`train.unseen_likeness`); `tower-alone` is without
both; `shuffled` is the tower with each item's features swapped for another's; `sasrec` knows ids alone. A tower's
scores of cold items are raised or lowered by one number, fitted on the validation part so that it costs the trained
items the share of NDCG@10 that stands beside it (`train.unseen_cost`). Settings of content-kNN (columns, encoder,
recency) were chosen for each seed, and of likeness (how much it counts, recency) by the first seed, without the test:
by the same question asked of the training and validation parts, where further items left training. Those of likeness
on amazon-beauty are the package's defaults. The tests weren't untouched, but for seeds 1 and 2 of amazon-beauty: they
had been measured once with the version before, which had likeness, but in which cold items took nothing over.

What "cost" says is how high cold items may rank, and that is a choice: what they gain, trained items lose. Content-kNN
makes no such choice, as it ranks every item by its features alone, so where all items are ranked together it is to be
compared by both kinds of request:

"""
COSTS = (("content-knn", "0.0"), ("tower", "0.05"), ("tower", "0.2"))
"""Rows of the summary of what cold items gain and trained ones lose."""
TOWERS = ("tower", "tower-alone", "shuffled")
TABLE = (
    "\n| model | cost | among cold | difference | among all | difference | trained | trained among all |\n"
    "|---|---:|---:|---|---:|---|---:|---:|"
)


def write_report(results: Path, file: Path) -> None:
    """Write the tables of all files that were measured."""
    found: dict[str, dict[tuple[str, str], dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    settings: dict[str, list[str]] = defaultdict(list)
    for path in sorted(results.glob("*.json")):
        one = json.loads(path.read_text())
        if "costs" not in one:
            continue
        for cost, measured in one["costs"].items():
            found[one["file"]][one["model"], cost][one["seed"]] = measured
        if one["model"] in ("content-knn", "tower"):
            settings[one["file"]].append(f"- seed {one['seed']}, {one['model']}: `{json.dumps(one['settings'])}`")
    parts = [HEAD + "\n".join(_both(found))]
    for name, rows in found.items():
        parts += [f"\n## {name}\n", *_table(rows), "\nChosen:\n", *settings[name]]
    file.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _both(found: dict[str, dict[tuple[str, str], dict[int, dict[str, Any]]]]) -> list[str]:
    """What content-kNN and the tower give to both kinds of request among all items, and on which files the tower gives
    more to both."""
    head = " | ".join("content-knn" if cost == "0.0" else f"tower, {float(cost):.0%}" for _, cost in COSTS)
    lines = [f"| file | asked for | {head} |", "|---|---|" + "---:|" * len(COSTS)]
    ahead: dict[str, list[str]] = {cost: [] for _, cost in COSTS[1:]}
    for name, rows in found.items():
        if not all(key in rows for key in COSTS):
            continue
        means = {}
        for asked, label in (("a cold item", "all"), ("a trained item", "trained among all")):
            means[asked] = [np.mean([np.mean(one[f"{label}/ndcg@10"]) for one in rows[key].values()]) for key in COSTS]
            lines.append(f"| {name} | {asked} | " + " | ".join(f"{mean:.4f}" for mean in means[asked]) + " |")
        for place, (_, cost) in enumerate(COSTS[1:], 1):
            if all(row[place] > row[0] for row in means.values()):
                ahead[cost].append(name)
    said = "; ".join(f"at {float(cost):.0%} on {', '.join(names) or 'none'}" for cost, names in ahead.items())
    return [*lines, f"\nThe tower is ahead of content-kNN in both at once, in the mean: {said}."]


def _table(rows: dict[tuple[str, str], dict[int, dict[str, Any]]]) -> list[str]:
    reference = rows.get(("content-knn", "0.0"), {})
    some = next(iter(rows.values()))
    requests = ", ".join(f"{len(one['user']):,}" for one in some.values())
    sizes = ", ".join(f"{one['cold_items']:,} of {one['items']:,}" for one in some.values())
    among, everyone = (_spread(_chance(one[key]) for one in some.values()) for key in ("cold_items", "items"))
    lines = [f"{requests} requests (by seed); {sizes} items are cold.", TABLE]
    order = {"content-knn": 0, "sasrec": 1, "tower-alone": 2, "tower": 3, "shuffled": 4}
    for (model, cost), seeds in sorted(rows.items(), key=lambda row: (order[row[0][0]], float(row[0][1]))):
        cells = [model, f"{float(cost):.0%}" if model in TOWERS else ""]
        for label in ("cold", "all"):
            cells.append(_spread(np.mean(one[f"{label}/ndcg@10"]) for one in seeds.values()))
            cells.append("" if model == "content-knn" else _against(label, seeds, reference))
        for label in ("trained", "trained among all"):
            cells.append(_spread(one[f"{label}/ndcg@10"] for one in seeds.values()))
        lines.append("| " + " | ".join(cells) + " |")
    missing = [model for model in order if not any(model == known for known, _ in rows)]
    lines.append(f"| chance | | {among} | | {everyone} | | | |")
    return [*lines, f"\nNot measured yet: {', '.join(missing)}."] if missing else lines


def _chance(items: int) -> float:
    """NDCG@10 of a random order of so many items."""
    return float((1 / np.log2(np.arange(2, min(items, 10) + 2))).sum() / items)


def _spread(values: Iterable[Any]) -> str:
    numbers = np.array([float(value) for value in values])
    return f"{numbers.mean():.4f} ± {numbers.std(ddof=1):.4f}" if len(numbers) > 1 else f"{numbers.mean():.4f}"


def _against(label: str, seeds: dict[int, dict[str, Any]], reference: dict[int, dict[str, Any]]) -> str:
    """The paired difference over the requests of all seeds that both have; a user's requests of all seeds together."""
    both = sorted(seeds.keys() & reference.keys())
    if not both:
        return ""
    key = f"{label}/ndcg@10"
    difference = np.concatenate([np.subtract(seeds[seed][key], reference[seed][key]) for seed in both])
    persons = np.concatenate([seeds[seed]["user"] for seed in both])
    test = paired_tests(np.unique(persons, return_inverse=True)[1], difference[:, None])[0].difference
    return f"{test.value:+.4f} ({test.low:+.4f} to {test.high:+.4f})"
