"""Compiling, and doing without."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from onward.data.sequences import Histories
from onward.models.base import Items
from onward.models.compiled import CompiledTransformer
from onward.models.registry import model_class
from onward.native import build, library, softmax

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform == "win32",
    reason="nothing is compiled for this machine",
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of what is compiled, and its builder."""
    for file in Path(build.__file__).parent.iterdir():
        if file.name == "build.py" or file.suffix in (".cpp", ".h"):
            shutil.copy(file, tmp_path / file.name)
    return tmp_path


def _build(folder: Path, **variables: str) -> str:
    words = [sys.executable, str(folder / "build.py")]
    return subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("changed", ["softmax.cpp", "tiles.h"])
def test_a_library_is_named_after_what_it_was_compiled_from(elsewhere: Path, changed: str) -> None:
    if build._compiler() is None and os.environ.get("ONWARD_REQUIRE_COMPILER") != "1":
        pytest.skip("no C++ compiler on this machine (Debian: apt-get install g++)")
    assert "compiled with" in _build(elsewhere)
    first = {file.name for file in elsewhere.glob("*.so")}
    assert len(first) == len(build.INSTRUCTIONS)
    with (elsewhere / changed).open("a", encoding="utf-8") as source:
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
    library._library.cache_clear()
    monkeypatch.setattr(library, "library_for", lambda instructions: damaged)
    try:
        assert not library.is_built()
    finally:
        library._library.cache_clear()


def test_the_code_for_wider_vectors_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled for AVX-512, in the instructions that every machine of the tests has: a compiler halves the vectors."""
    compiler = build._compiler()
    if compiler is None or not library.is_built():
        pytest.skip("nothing is compiled on this machine")
    wide = tmp_path / "wide.so"
    options = [*build.OPTIONS, *build.INSTRUCTIONS["AVX2"], "-D__AVX512F__"]
    subprocess.run([compiler, *options, *map(str, build.SOURCES), "-o", str(wide)], check=True, capture_output=True)
    found = []
    for loaded in (library.library(), library.load(wide)):
        monkeypatch.setattr(library, "_library", lambda loaded=loaded: loaded)
        found.append([*_states(), *_gradients()])
    assert library.library().tile_columns() == 32
    for wanted, got in zip(*found, strict=True):
        assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def _states() -> list[torch.Tensor]:
    counts = np.ones(51, dtype=np.int64)
    cls = model_class("esasrec")
    torch.manual_seed(0)
    model = cls(
        cls.Config.parse({"width": 33, "heads": 3, "max_length": 90}), Items(counts, np.arange(51, dtype=np.int32))
    )
    assert isinstance(model, CompiledTransformer)
    lists = [[1 + at % 50 for at in range(length)] for length in (1, 5, 12, 13, 31, 32, 33, 90)]
    histories = Histories.from_lists(lists, 50)
    one = model.recommend(histories.select(slice(6, 7)), 10)
    return [model.encoded(histories), torch.from_numpy(one.scores), torch.from_numpy(one.items)]


def _gradients() -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    states, table = torch.randn(25, 33, generator=random), torch.randn(50, 33, generator=random)
    targets, weights = torch.randint(50, (25,), generator=random), torch.full((25,), 1 / 25)
    return softmax.softmax_gradients(
        softmax.Predictions(states, table, table[:, 0], targets, weights, None, None, None)
    )
