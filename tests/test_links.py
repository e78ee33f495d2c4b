"""What documents point at is there: links, headings, files that are named, commands with their options."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from onward.cli.main import app

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
NAMED = re.compile(r"`((?:docs|bench|tests|recipes|src/onward)/[\w./-]+\.\w+)`")
LEADS = {"onward evaluate RUN --prequential"}
"""Commands whose error says which other one is meant."""
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def tracked() -> set[str]:
    """Files of the repository, and the folders they are in."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not in a git checkout")
    files = {name for name in listed.stdout.decode().split("\0") if name}
    return files | {str(folder) for name in files for folder in Path(name).parents}


def documents() -> list[str]:
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("recipes/**/*.md")]
    return sorted(str(file.relative_to(ROOT)) for file in [*found, *ROOT.glob("docs/notebooks/*.ipynb")])


def headings(text: str) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", documents())
def test_what_a_document_points_at_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    prose, files, missing = FENCE.sub("", text), tracked(), []
    for target in (one or other for one, other in LINK.findall(prose)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        name = str(file.resolve().relative_to(ROOT))
        if name not in files or (anchor and anchor not in headings(file.read_text(encoding="utf-8"))):
            missing.append(target)
    missing += [name for name in NAMED.findall(prose) if name not in files]
    assert not missing


def test_headings_are_found_as_anchors() -> None:
    assert headings("# One\n\n```\n# no heading\n```\n\n## `code`, and more (2)\n") == {"one", "code-and-more-2"}


def commands(text: str) -> list[str]:
    """The `onward` commands of a document, in blocks and in the text, without what stands for more."""
    blocks = [block.replace("\\\n", " ") for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    parts = [part.strip() for line in lines for part in re.split(r" && | [|>] | #", line)]
    return [re.sub(r"\.\.\.|[\[\]]", "", part) for part in parts if part.startswith("onward ")]


@pytest.mark.parametrize("document", documents())
def test_the_commands_of_a_document_exist(document: str) -> None:
    for command in set(commands((ROOT / document).read_text(encoding="utf-8"))) - LEADS:
        try:
            app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
        except MissingArgumentError:  # a mention, not to be typed
            continue
        except CycloptsError as error:
            raise AssertionError(f"{command}: {error}") from None
