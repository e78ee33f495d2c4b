"""Numbers kept in .bench/serving.json, and bench/SERVING.md written from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT, REPORT = ROOT / ".bench" / "serving.json", ROOT / "bench" / "SERVING.md"
ML_1M = 3_000
"""A catalog of more items is MovieLens-1M's, which the bars are for; MovieLens-100K's has 1,682."""


@dataclass(frozen=True)
class Bar:
    """What is wanted, what was found."""

    what: str
    wanted: str
    found: str
    met: bool


def remember(section: str, found: dict) -> None:
    """Put a section's numbers in place of its earlier ones."""
    KEPT.parent.mkdir(exist_ok=True)
    known = _kept()
    KEPT.write_text(json.dumps({**known, section: found}, indent=1))


def _kept() -> dict:
    return json.loads(KEPT.read_text()) if KEPT.is_file() else {}


def write() -> int:
    """Write the report of everything kept; returns 1 when a bar is missed."""
    kept = _kept()
    bars = list(_bars(kept))
    lines = [
        "# Serving",
        "",
        "Written by `python bench/serve.py`. Real servers, a SQLite store, keys and rules; the load "
        "comes from the same machine: wrk where it is as much as gets answered, `serving/open_loop.py` where the rate "
        "is fixed (Poisson, latencies from when a request was due).",
        "",
    ]
    if any(kept.get(name, {}).get("catalog", ML_1M) < ML_1M for name in ("lists", "mixed")):
        lines += ["**The model is a small one, not that of the bars: give `--model` and `--data`.**", ""]
    lines += ["| | wanted | found | |", "|---|---|---|---|"]
    lines += [f"| {bar.what} | {bar.wanted} | {bar.found} | {'met' if bar.met else 'MISSED'} |" for bar in bars]
    for name, text in _TEXTS.items():
        if name in kept:
            lines += ["", *text(kept[name]), "", _measured(kept[name])]
    REPORT.write_text("\n".join(lines) + "\n")
    print(REPORT.read_text())
    return int(not all(bar.met for bar in bars))


def _bars(kept: dict) -> Iterator[Bar]:
    if "lists" in kept:
        best = max(kept["lists"]["wrk"], key=lambda one: one["rate"] if one["p99"] < 15 else 0)
        met = best["rate"] >= 2_500 and best["p99"] < 15 and not best["errors"]
        yield Bar("lists a second, p99", "2,500, 15 ms", f"{best['rate']:,.0f}, {best['p99']:.1f} ms", met)
    if "mixed" in kept:
        beside, writing = (kept["mixed"]["by_1"]["streams"][name] for name in ("lists", "events"))
        met = not beside["errors"] and not writing["errors"] and beside["p99"] < 25
        stored = f"{writing['answered_a_second']:,.0f} events/s, lists {beside['p99']:.1f} ms"
        yield Bar("3,000 durable events/s beside 500 lists/s, p99 of lists", "25 ms", stored, met)
    if "catalog" in kept:
        fixed = kept["catalog"]["fixed"]["streams"]["lists"]
        met = not fixed["errors"] and fixed["p99"] < 40
        yield Bar("500 lists/s of 100,000 items, p99", "40 ms", f"{fixed['p99']:.1f} ms", met)
    if "trickle" in kept:
        beside = kept["trickle"]["beside"]["streams"]["lists"]
        met = not beside["errors"] and beside["p99"] < 100
        yield Bar("p99 beside trickling connections", "100 ms", f"{beside['p99']:.1f} ms", met)
    if "start" in kept:
        seconds, memory = max(kept["start"]["seconds"]), max(kept["start"]["memory_mib"])
        yield Bar("start to ready", "5 s", f"{seconds:.1f} s", seconds < 5)
        yield Bar("memory of a worker", "700 MiB", f"{memory:.0f} MiB", memory < 700)
    if "soak" in kept:
        yield _soaked(kept["soak"])


def _soaked(soak: dict) -> Bar:
    errors = sum(one["errors"] for minute in soak["minutes"] for one in minute.values())
    p99 = [minute["lists"]["p99"] for minute in soak["minutes"]]
    grown = soak["memory_mib"][-1] - soak["memory_mib"][min(2, len(soak["memory_mib"]) - 1)]
    found = f"{errors} errors, p99 {min(p99):.1f} to {max(p99):.1f} ms, {grown:+.0f} MiB after the second minute"
    return Bar(
        f"{len(p99)} minutes at {soak['rate']:,.0f} lists/s", "no error, flat", found,
        not errors and grown < 20 and max(p99[1:] or p99) < 3 * min(p99) + 5,
    )  # fmt: skip


def _measured(section: dict) -> str:
    machine = section["machine"]
    what = f"{section['model']}, {section['catalog']:,} items, {section['stored_events']:,} events stored; " if (
        "model" in section
    ) else ""  # fmt: skip
    return (
        f"({what}{section.get('workers', 1)} worker(s); {section['measured']} UTC, "
        f"{machine['cores']} cores of {machine['cpu']}, load average {machine['load']:.1f} at the end)"
    )


WRK_HEAD = [
    "| | connections | a second | p50 ms | p90 ms | p99 ms | errors | server's processor, us a request |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
]
FIXED_HEAD = [
    "| | asked a second | answered a second | p50 ms | p99 ms | p99.9 ms | errors |",
    "|---|---:|---:|---:|---:|---:|---:|",
]


def _wrk_row(what: str, one: dict) -> str:
    return (
        f"| {what} | {one['connections']} | {one['rate']:,.0f} | {one['p50']:.2f} | {one['p90']:.2f} | "
        f"{one['p99']:.2f} | {one['errors']} | {one['cpu_us']:.0f} |"
    )


def _fixed_row(what: str, one: dict) -> str:
    return (
        f"| {what} | {one['rate']:,.0f} | {one['answered_a_second']:,.0f} | {one['p50']:.2f} | {one['p99']:.2f} | "
        f"{one['p99.9']:.2f} | {one['errors']} |"
    )


def _bare_text(section: dict) -> list[str]:
    return ["## Bare FastAPI", "", *WRK_HEAD, _wrk_row("bare", section["wrk"])]


def _lists_text(section: dict) -> list[str]:
    onnx = "ONNX Runtime" if section["onnx"] else "torch"
    rows = [*(_wrk_row("bare FastAPI", one) for one in section["bare"])]
    rows += [_wrk_row("lists", one) for one in section["wrk"]]
    rows += [_wrk_row("lists, no keys, no rules", section["without"])]
    rows += [_wrk_row("lists, every state computed anew", section["anew"])]
    best = max(one["rate"] for one in section["wrk"])
    limit = sum(one["rate"] for one in section["bare"]) / len(section["bare"])
    return [
        "## Lists", "",
        f"Ten items a list, users at random, histories from the store, states by {onnx}. Each list reads its history; "
        "the state of a history that was asked for lately is remembered, and with more lists than users most are. "
        f"{best / limit:.0%} of bare FastAPI in the same run; {section['memory_mib']:.0f} MiB.",
        "", *WRK_HEAD, *rows, "", *FIXED_HEAD, _fixed_row("lists", section["fixed"]["streams"]["lists"]),
    ]  # fmt: skip


def _mixed_text(section: dict) -> list[str]:
    lines = ["## Events beside lists", ""]
    for batch in (1, 10):
        found = section[f"by_{batch}"]
        lines += [
            f"{batch} event{'s' if batch > 1 else ''} a request; the server used {found['server_cpu_share']:.0%} of a "
            f"core, the load {found['generator_cpu_share']:.0%}.", "", *FIXED_HEAD,
            _fixed_row("requests with events", found["streams"]["events"]),
            _fixed_row("lists", found["streams"]["lists"]), "",
        ]  # fmt: skip
    return lines[:-1]


def _catalog_text(section: dict) -> list[str]:
    return [
        "## A hundred thousand items", "", f"{section['memory_mib']:.0f} MiB.", "",
        *FIXED_HEAD, _fixed_row("lists", section["fixed"]["streams"]["lists"]), "",
        *WRK_HEAD, _wrk_row("lists", section["wrk"]),
    ]  # fmt: skip


def _million_text(section: dict) -> list[str]:
    lines = ["## A million items", ""]
    index = section["faiss"]["index"]
    if index:
        lines += [
            f"The index: recall {float(index['recall']):.3f} of the exact ten, {float(index['index_ms']):.2f} ms a "
            f"search against {float(index['exact_ms']):.2f} ms exactly, {int(index['bytes']) / 2**20:.0f} MiB, "
            f"{index['probes']} of {index['cells']} cells looked into, built in {float(index['seconds']):.0f} s.", "",
        ]  # fmt: skip
    lines += WRK_HEAD
    for name in ("faiss", "exact"):
        lines += [_wrk_row(name, section[name]["one"]), _wrk_row(name, section[name]["wrk"])]
    memory = ", ".join(
        f"{name} {section[name]['memory_mib']:,.0f} MiB, ready after {section[name]['ready_seconds']:.0f} s"
        for name in ("faiss", "exact")
    )
    return [*lines, "", f"Memory of the worker: {memory}."]


def _trickle_text(section: dict) -> list[str]:
    found = section["connections"]
    return [
        "## Slow connections", "",
        f"{found['first']:,} connections from {section['addresses']} addresses send a byte every two seconds and never "
        f"complete a request; each is closed after ten seconds and opened again ({found['opened']:,} in all).",
        "", *FIXED_HEAD, _fixed_row("alone", section["alone"]["streams"]["lists"]),
        _fixed_row("beside them", section["beside"]["streams"]["lists"]),
    ]  # fmt: skip


def _start_text(section: dict) -> list[str]:
    seconds = ", ".join(f"{one:.1f}" for one in section["seconds"])
    processor = ", ".join(f"{one:.1f}" for one in section["processor"])
    memory = ", ".join(f"{one:.0f}" for one in section["memory_mib"])
    text = f"Ready after {seconds} s, {processor} s of them on a processor; "
    return ["## Start and memory", "", text + f"a worker holds {memory} MiB after a thousand lists."]


def _soak_text(section: dict) -> list[str]:
    lines = [
        "## Minutes under load",
        "",
        f"{section['rate']:,.0f} lists/s and {section['rate'] / 5:,.0f} events/s; states are remembered in 8 MiB.",
        "",
    ]
    lines += [
        "| minute | lists p50 ms | p99 ms | events p99 ms | errors | MiB before |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for number, (minute, memory) in enumerate(zip(section["minutes"], section["memory_mib"], strict=False), 1):
        errors = sum(one["errors"] for one in minute.values())
        asked, stored = minute["lists"], minute["events"]
        lines.append(
            f"| {number} | {asked['p50']:.2f} | {asked['p99']:.2f} | {stored['p99']:.2f} | {errors} | {memory:.0f} |"
        )
    return [*lines, "", f"{section['memory_mib'][-1]:.0f} MiB at the end."]


_TEXTS = {
    "bare": _bare_text,
    "lists": _lists_text,
    "mixed": _mixed_text,
    "catalog": _catalog_text,
    "million": _million_text,
    "trickle": _trickle_text,
    "start": _start_text,
    "soak": _soak_text,
}
