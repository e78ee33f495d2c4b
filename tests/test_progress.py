"""The bar of work that takes long: shown after a while, to those who look at a terminal."""

from __future__ import annotations

import pytest

from onward import progress
from onward.progress import shown_progress, silent


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is one, as far as `rich` can tell."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("terminal")
def test_a_bar_after_a_while(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.9, 2.1, 2.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with shown_progress("counting", None) as step:
        step(1, 4)
        assert capsys.readouterr().err == ""
        step(2, 4)
        step(3, 4)
    captured = capsys.readouterr()
    assert "counting" in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("given", [None, silent])
def test_no_bar_at_the_end_or_for_those_who_want_none(
    given: progress.OnStep | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with shown_progress("counting", given) as step:
        for done in range(4) if given else [4]:
            step(done, 4)
    assert capsys.readouterr().err == ""


def test_no_bar_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with shown_progress("counting", None) as step:
        step(1, 4)
    assert capsys.readouterr().err == ""
