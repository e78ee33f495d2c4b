"""Compiling, and doing without."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from onward.models import losses
from onward.native import build, softmax


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of what is compiled, and its builder."""
    for name in ("build.py", "softmax.cpp"):
        shutil.copy(Path(build.__file__).with_name(name), tmp_path / name)
    return tmp_path


def _build(folder: Path, **variables: str) -> str:
    words = [sys.executable, str(folder / "build.py")]
    return subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(build._compiler() is None, reason="no C++ compiler on this machine (Debian: apt-get install g++)")
def test_a_library_is_named_after_what_it_was_compiled_from(elsewhere: Path) -> None:
    assert "compiled with" in _build(elsewhere)
    first = {file.name for file in elsewhere.glob("*.so")}
    assert len(first) == len(build.INSTRUCTIONS)
    with (elsewhere / "softmax.cpp").open("a", encoding="utf-8") as source:
        source.write("// another version\n")
    _build(elsewhere)
    assert len(list(elsewhere.glob("*.so"))) == len(first)
    assert not first & {file.name for file in elsewhere.glob("*.so")}


def test_without_a_compiler_it_says_so(elsewhere: Path) -> None:
    assert "found no C++ compiler" in _build(elsewhere, CXX="", PATH="")
    assert not list(elsewhere.glob("*.so"))


def test_what_a_compiler_complains_of_is_passed_on(elsewhere: Path) -> None:
    compiler = elsewhere / "compiler"
    compiler.write_text("#!/bin/sh\necho 'no vectors here' >&2\nexit 1\n", encoding="utf-8")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    assert "no vectors here" in _build(elsewhere, CXX=str(compiler))
    assert not list(elsewhere.glob("*.so"))


def test_a_library_that_does_not_load_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"\x7fELF nothing more")
    softmax._library.cache_clear()
    monkeypatch.setattr(softmax, "library_for", lambda instructions: damaged)
    try:
        assert not softmax.is_built()
    finally:
        softmax._library.cache_clear()


def test_without_a_library_pytorch_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    states, table = (torch.randn(size, 8, generator=generator, requires_grad=True) for size in (300, 90))
    given = (states, table, torch.zeros(90), torch.arange(300) % 90, torch.ones(300))
    loss = losses.full_softmax(*given)
    monkeypatch.setattr(losses, "is_built", lambda: False)
    other = losses.full_softmax(*given)
    torch.testing.assert_close(loss, other)
    pairs = (torch.autograd.grad(each, (states, table)) for each in (loss, other))
    torch.testing.assert_close(*pairs)
