"""Compile what is written in C++; `pip install` does, through `hatch_build.py`. Needs nothing but a compiler.

A library carries in its name what it was compiled from, so that one of another version is never loaded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("*.cpp"))
INSTRUCTIONS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"]}
"""What PyTorch calls a processor's vector instructions -> the options that compile for them."""
OPTIONS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC"]


def library_for(instructions: str) -> Path:
    """Where the library for these vector instructions is, if it was built."""
    text = b"".join(file.read_bytes() for file in (*sorted(FOLDER.glob("*.h")), *SOURCES))
    return FOLDER / f"kernels-{hashlib.sha256(text).hexdigest()[:12]}-{instructions.lower()}.so"


def build() -> str:
    """Compile for all instructions, and say in a sentence what came of it. Nothing is built where it can't be."""
    if sys.platform == "win32" or platform.machine() not in ("x86_64", "AMD64"):
        return f"no kernel is written for {platform.system()} on {platform.machine()}; PyTorch does its work"
    compiler = _compiler()
    if compiler is None:
        return "found no C++ compiler (c++, g++, clang++, or CXX), so that PyTorch does the kernels' work"
    for instructions, options in INSTRUCTIONS.items():
        library = library_for(instructions)
        unfinished = library.with_suffix(f".{os.getpid()}")
        command = [compiler, *OPTIONS, *options, *map(str, SOURCES), "-o", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            unfinished.unlink(missing_ok=True)
            return f"{' '.join(command)} failed, so that PyTorch does the kernels' work:\n{done.stderr}"
        unfinished.replace(library)
    current = {library_for(instructions) for instructions in INSTRUCTIONS}
    for old in set(FOLDER.glob("*.so")) - current:
        old.unlink()
    return f"compiled with {compiler}: {', '.join(sorted(library.name for library in current))}"


def _compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


if __name__ == "__main__":
    print(build())
