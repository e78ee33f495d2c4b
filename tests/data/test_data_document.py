"""What docs/data.md shows works, and its table of limits is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from onward.cli.main import main
from onward.data.dataset import open_dataset
from onward.data.features.kinds import MAX_TEXT, MAX_VALUES

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    events, products = blocks("csv")
    Path("events.csv").write_text(events)
    Path("products.csv").write_text(products)
    Path("features.toml").write_text(blocks("toml")[0])
    first, second = blocks("sh")
    assert main(shlex.split(first)[1:]) == 0
    manifest = open_dataset("dataset").manifest
    assert manifest.event_features == {"shop_id": "category", "paid": "number", "device": "category"}
    assert manifest.item_features == {"tags": "categories", "released": "time"}
    assert manifest.known_at_request == ["device"]
    np.save("images.npy", np.ones((2, 3)))
    Path("image_ids.txt").write_text("tent-2p\nboots-42\n")
    assert main([*shlex.split(second)[1:], "--overwrite"]) == 0
    assert open_dataset("dataset").manifest.item_features == {"image": "vector"}


def test_the_limits() -> None:
    assert f"| different values of a category, set, text or vector of the events | {MAX_VALUES:,} |" in TEXT
    assert f"| one text | {MAX_TEXT:,} bytes |" in TEXT
