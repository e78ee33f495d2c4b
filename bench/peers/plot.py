"""The picture of a run: training speed at both lengths, and quality against time.

python bench/peers/plot.py RECORDS PICTURE     (in the environment that holds matplotlib)
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import settings
from records import Records

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {
    "Onward": "#0b6e4f",
    "Onward GRU": "#6bbf8a",
    "RePlay": "#d1495b",
    "RecTools": "#30638e",
    "RecBole": "#8d6a9f",
}
GREY = "#777777"


def main(records: Records, path: Path) -> None:
    """Three panels side by side; a panel without measurements stays empty."""
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.2), width_ratios=[1, 1, 1.5], layout="constrained")
    for panel, length in zip(panels, settings.LENGTHS, strict=False):
        _speed(records, panel, length)
    _curves(records, panels[2])
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _speed(records: Records, panel: plt.Axes, length: int) -> None:
    found = {
        library.name: records.middle("events_per_second", stage=f"length {length}", do="train", library=library.name)
        for library in settings.THROUGHPUT
    }
    shown = {name: speed for name, speed in reversed(found.items()) if speed}
    drawn = panel.barh(list(shown), list(shown.values()), color=[COLOURS[name] for name in shown])
    panel.bar_label(drawn, [f"{speed:,.0f}" for speed in shown.values()], padding=3)
    panel.margins(x=0.25)
    panel.set_title(f"Training, events/s, length {length}")


def _curves(records: Records, panel: plt.Axes) -> None:
    scores = records.of(stage="quality", do="score")
    for name in dict.fromkeys(one["library"] for one in scores):
        mine = sorted((one["clock"], one["ndcg@10"]) for one in scores if one["library"] == name)
        panel.plot(*zip(*mine, strict=True), marker="o", color=COLOURS[name], label=name)
    for one, lift in zip(records.of(stage="static", do="score"), (4, -12), strict=False):
        panel.plot(one["clock"], one["ndcg@10"], marker="x", color=GREY)
        where = (one["clock"], one["ndcg@10"])
        panel.annotate(one["library"], where, (6, lift), textcoords="offset points", color=GREY)
    panel.set(title="NDCG@10 against time, test part", xlabel="seconds since the process started", xlim=0, ylim=0)
    if scores:
        panel.set_ylim(top=1.3 * max(one["ndcg@10"] for one in scores))  # room above the curves
        panel.legend(frameon=False, loc="upper left", ncols=3)
    panel.grid(alpha=0.3)


if __name__ == "__main__":
    main(Records(Path(sys.argv[1])), Path(sys.argv[2]))
