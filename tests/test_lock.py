"""requirements.lock: exact versions only, everything that pyproject.toml asks for, and no PyTorch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
LOCKED = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


@pytest.mark.parametrize("line", LINES)
def test_line_is_a_plain_pin(line: str) -> None:
    assert re.fullmatch(r'[A-Za-z0-9._-]+==[0-9][0-9a-z.]*( ?; python_version [<>=!]+ "3\.\d+")?', line)


def test_no_package_twice_and_no_torch() -> None:
    assert len(LOCKED) == len(LINES)
    assert not [name for name in LOCKED if name == "torch" or name.startswith("nvidia") or name == "onward"]


@pytest.mark.parametrize("needed", [line for line in NEEDED if not line.startswith("torch")])
def test_locked_within_bounds(needed: str) -> None:
    requirement = Requirement(needed)
    (pin,) = LOCKED[canonicalize_name(requirement.name)].specifier
    assert requirement.specifier.contains(pin.version)


def test_default_torch_of_the_makefile_is_within_bounds() -> None:
    default = re.search(r"^TORCH \?= torch==(\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    (torch,) = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("torch")]
    assert default
    assert torch.specifier.contains(default[1])
