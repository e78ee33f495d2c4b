"""ARCHITECTURE.md names what is there: every folder of the package, and no module that isn't."""

from __future__ import annotations

import re
from pathlib import Path

import onward

SOURCE = Path(onward.__file__).parent
TEXT = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
LAYOUT = TEXT[TEXT.index("## Layout and direction") : TEXT.index("## Formats")]
ROWS = re.findall(r"^\|[^|]*\|([^|]+)\|(.+)\|$", LAYOUT, re.MULTILINE)[2:]
"""Of the table: the parts, and what is in them."""


def names(text: str) -> list[str]:
    return re.findall(r"`([a-z_][a-z0-9_/]*)`", text)


def test_every_part_and_every_module_that_is_named_is_there() -> None:
    missing = []
    for parts, inside in ROWS:
        for part in names(parts):
            place = SOURCE / part
            there = place.is_dir() if part.endswith("/") else place.with_suffix(".py").is_file()
            missing += [] if there else [part]
            if part.endswith("/"):
                known = {file.stem for file in place.rglob("*")}
                missing += [f"{part}: {name}" for name in names(inside) if name.rstrip("/") not in known]
    assert not missing


def test_every_folder_and_every_module_beside_them_is_named() -> None:
    named = {name.rstrip("/").split("/")[-1] for parts, inside in ROWS for name in names(parts) + names(inside)}
    folders = {file.parent.name for file in SOURCE.rglob("__init__.py")} - {SOURCE.name}
    modules = {file.stem for file in SOURCE.glob("*.py")} - {"__init__"}
    assert len(ROWS) > 20
    assert folders | modules <= named
