"""What all commands share: help pages, and a reader that goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onward.cli.main import GROUPS, SECTIONS, main
from onward.errors import unknown

COMMANDS = [name for commands in SECTIONS.values() for name in commands]
PAGES = [[name] for name in COMMANDS if name not in GROUPS]
PAGES += [[group, name] for group, names in GROUPS.items() for name in names]


def test_the_first_help_page_lists_commands_by_section_in_the_order_of_their_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    lines = [line.strip("│╭─╮ ").split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert [word for word in lines if word in COMMANDS] == COMMANDS
    assert len(COMMANDS) == len(set(COMMANDS))


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_help_page_has_an_example(page: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*page, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"onward {' '.join(page)}" in " ".join(text.partition("Example")[2].split())


def test_evaluate_prequential_is_the_command_prequential(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "none"), "--every", "1d", "--json"]
    assert main(["evaluate", *arguments, "--prequential"]) == main(["prequential", *arguments]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


@pytest.mark.parametrize("flags", [["--json"], []])
def test_a_closed_pipe_leaves_no_traceback(flags: list[str]) -> None:
    code = "import sys; from onward.cli.main import main; sys.stdin.read(); sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "data", "list", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # before the command writes: it waits for the end of its input
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_the_package_runs_as_a_module_of_python() -> None:
    done = subprocess.run([sys.executable, "-m", "onward", "models", "--json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert '"sasrec"' in done.stdout
    assert subprocess.run([sys.executable, "-m", "onward", "nothing"], capture_output=True).returncode == 2


def test_of_many_names_an_error_shows_those_nearest_to_the_unknown_one() -> None:
    many = [f"train.setting_{number}" for number in range(100)]
    said = unknown("setting", "train.setting_71x", many)
    assert "did you mean 'train.setting_71'?" in said
    assert said.endswith("and 90 more")
    assert said.count("train.setting_") == 1 + 1 + 10
    assert "train.setting_39" in unknown("setting", "other", many[:40])
