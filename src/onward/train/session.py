"""Where a session of a training runs, as the first line that it logs says: code, environment; and its peak memory."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import torch

from onward.device import compute_device

GIT_SECONDS = 5.0
"""A git that takes longer, in a huge repository or on a slow disk, is not waited for."""


def session() -> dict[str, Any]:
    """The values of a `start` line: `time` (ISO 8601, UTC), `git_revision`, `git_dirty`, `environment`.

    Revision and dirtiness, of tracked files, are those of the repository that the current folder is in; None outside
    of one, without git, or where git doesn't answer in time.
    """
    revision = _git("rev-parse", "HEAD")
    changed = None if revision is None else _git("status", "--porcelain", "--untracked-files=no")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": revision,
        "git_dirty": None if changed is None else bool(changed),
        "environment": environment(),
    }


def environment() -> dict[str, str | int]:
    """Python, system, device, threads, and under `packages.` the versions of Onward and its dependencies."""
    device = compute_device()
    named = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in requires("onward") or []]
    packages = {f"packages.{name}": found for name in ["onward", *sorted(set(named))] if (found := _version(name))}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        **packages,
    }


def peak_memory() -> dict[str, int]:
    """The most memory of this process so far: `peak_memory`, bytes; with CUDA also `peak_gpu_memory`, of tensors.

    Empty where the system doesn't say.
    """
    found = {"peak_gpu_memory": torch.cuda.max_memory_allocated()} if compute_device().type == "cuda" else {}
    try:
        import resource
    except ImportError:  # Windows
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, **found}


def _git(*words: str) -> str | None:
    """What git prints; None where it isn't there, fails, or takes too long."""
    git = shutil.which("git")
    if git is None:
        return None
    try:  # without optional locks a look at the state writes nothing
        command = [git, "--no-optional-locks", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


@cache  # reading the metadata of all packages takes longer than a step of training
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
