"""One environment a library, under a cache folder that git ignores; made once, and again when its pins change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from settings import HERE, ROOT

CACHE = ROOT / ".bench"
WITHOUT_TORCH = ("implicit", "plot")


def interpreter(name: str) -> Path:
    """The Python of an environment; "onward" is the one that runs now."""
    return Path(sys.executable) if name == "onward" else CACHE / "venvs" / name / "bin" / "python"


def ensure(name: str, torch: str) -> None:
    """Create an environment and install what `requirements/NAME.txt` pins, PyTorch first.

    Raises:
        SystemExit: an installation failed; says which command.
    """
    if name == "onward":
        return
    requirements = HERE / "requirements" / f"{name}.txt"
    first = [] if name in WITHOUT_TORCH else torch.split()
    wanted = hashlib.sha256(requirements.read_bytes() + " ".join(first).encode()).hexdigest()
    folder = CACHE / "venvs" / name
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"==> Installing the environment of {name} into {folder} (some minutes on a slow line)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter(name)), "--disable-pip-version-check"]
    if first:
        _run([*pip, "--no-input", "install", "-qq", *first])
    _run([*pip, "--no-input", "install", "-qq", "--requirement", str(requirements)])
    stamp.write_text(wanted)


def versions(name: str) -> dict[str, str]:
    """Package and version of everything in an environment."""
    command = "from importlib.metadata import distributions as d; print(*(f'{x.name}={x.version}' for x in d()))"
    text = subprocess.run([str(interpreter(name)), "-c", command], check=True, capture_output=True, text=True).stdout
    return dict(sorted(pair.split("=", 1) for pair in text.split()))


def _run(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        raise SystemExit(f"this failed: {' '.join(command)}")
