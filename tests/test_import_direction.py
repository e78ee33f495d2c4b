"""Imports run one way: a module imports only from its own row of LAYERS or the rows above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import onward

LAYERS = (
    {"errors", "config", "space", "files", "payload", "progress", "client"},
    {"data", "text", "device", "machine", "preferences", "threads", "native"},
    {"models"},
    {"manifest", "card", "bundle", "runs", "tracking", "training_rows"},
    {"recommend", "predict", "evaluate"},
    {"serve"},
    {"train"},
    {"search", "prequential", "update", "drift"},
    {"cli", "testing"},
    {"__main__"},
)
SOURCE = Path(onward.__file__).parent


def layer(module: str) -> int:
    """Row of a module such as `onward.data.split`."""
    part = module.split(".")[1]
    return next(row for row, parts in enumerate(LAYERS) if part in parts)


def imports(code: str, module: str) -> Iterator[tuple[int, str]]:
    """(line, imported module of onward), also those inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name.split(".")[0] == "onward")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are written in full"
            if node.module == "onward":
                yield from ((node.lineno, f"onward.{name.name}") for name in node.names if name.name != "__version__")
            elif (node.module or "").startswith("onward."):
                yield node.lineno, str(node.module)


def upward(code: str, module: str) -> list[str]:
    """Imports against the direction, as `module:line imports other`."""
    return [f"{module}:{line} imports {other}" for line, other in imports(code, module) if layer(other) > layer(module)]


def modules() -> list[tuple[str, Path]]:
    files = sorted(SOURCE.rglob("*.py"))
    named = [(".".join(["onward", *file.relative_to(SOURCE).with_suffix("").parts]), file) for file in files]
    return [(name.removesuffix(".__init__"), file) for name, file in named if name != "onward.__init__"]


def test_no_import_points_upward() -> None:
    found = [arrow for name, file in modules() for arrow in upward(file.read_text(encoding="utf-8"), name)]
    assert not found, "\n".join(found)


def test_every_module_has_a_layer() -> None:
    parts = {name.split(".")[1] for name, _ in modules()}
    assert parts <= set().union(*LAYERS)


@pytest.mark.parametrize(
    "line",
    [
        "from onward.train.run import train",
        "import onward.cli.main",
        "from onward import evaluate",
        "def later():\n    from onward.bundle import load_bundle",
    ],
)
def test_the_walk_sees_an_upward_import(line: str) -> None:
    assert upward(line, "onward.data.split")


def test_the_walk_lets_downward_imports_pass() -> None:
    assert not upward(
        "from onward.data.split import split\nimport numpy\nfrom onward import __version__", "onward.models.x"
    )
