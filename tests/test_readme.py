"""Every command of the README works: on a small events.csv that begins with the README's own lines."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import numpy as np
import pytest

from onward.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_every_extra_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    section = README.partition("\n## Extras\n")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", section, re.MULTILINE)))
    assert sorted(named) == sorted(set(project["optional-dependencies"]) - {"dev"})


def block(language: str) -> str:
    """The one block of a language."""
    (text,) = [text for name, text in BLOCKS if name == language]
    return text


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with events.csv: the README's rows, then generated ones that follow a chain of items."""
    rng = np.random.default_rng(0)
    items = ["socks-grey", "boots-42", "tent-2p", *(f"item-{n}" for n in range(17))]
    rows = [block("csv")]
    for user in range(40):
        place = int(rng.integers(len(items)))
        for event in range(int(rng.integers(6, 12))):
            when = f"2026-03-{2 + event:02d}T{user % 24:02d}:10:00"
            rows.append(f"u{user},{items[(place + event) % len(items)]},{when}\n")
    (tmp_path / "events.csv").write_text("".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(text: str) -> list[str]:
    """Lines that call onward."""
    return [line for line in text.splitlines() if line.startswith("onward ")]


@pytest.mark.usefixtures("quick_doctor")
def test_the_five_commands_then_those_in_the_text(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    five = commands(block("bash"))
    assert len(five) == 5
    inline = [text for text in re.findall(r"`(onward [^`]+)`", README) if "make" not in text]
    inline = [text for text in inline if text != "onward data get ml-100k"]  # opens a connection
    assert len(inline) >= 5
    for line in [*five, *inline]:
        # a search takes all the time that it is given, but over few settings it ends when it has tried them all
        short = line.replace("--budget 30m", "--budget 30m --models popularity")
        fine = (0, 3) if line.startswith("onward update") else (0,)  # so small a log may not get through the gate
        assert main(shlex.split(short)[1:]) in fine, line
    assert (shop / "report.html").is_file()
    assert "boots-42" in capsys.readouterr().out


def test_the_five_commands_to_the_live_page(shop: Path) -> None:
    *first, serve = commands(block("sh"))
    assert len(first) == 4
    for line in first:
        assert main(shlex.split(line)[1:]) == 0, line
    words = [*shlex.split(serve)[1:], "--json"]
    program = [sys.executable, "-m", "onward"]
    with (shop / "log.txt").open("wb") as log:
        server = subprocess.Popen([*program, *words], stdout=subprocess.PIPE, stderr=log)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        page = httpx.get(f"{url}/", params={"user": "u17"}).text
        assert "Next for user u17" in page
        assert "tent-2p" in page
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0


@pytest.mark.usefixtures("shop")
def test_the_python_block(capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python")
    assert len([line for line in code.splitlines() if line]) <= 10
    exec(code, {"__name__": "__main__"})
    assert "item-knn" in capsys.readouterr().out
    assert Path("report.html").is_file()


def test_the_make_commands_exist() -> None:
    targets = re.findall(r"^make (\S+)", "\n".join(text for name, text in BLOCKS if not name), re.MULTILINE)
    assert set(targets) >= {"demo", "live", "test"}
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
