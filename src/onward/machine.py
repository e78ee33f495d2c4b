"""What this machine has: cores, memory, PyTorch and its device, bf16, extras, the cache."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, Literal

from onward.payload import Payload

EXTRAS = {
    "ann": "an index of nearest items, for catalogs of many",
    "drift": "changes of hit and click rates found: onward drift",
    "mf": "matrix factorisation: the model 'als'",
    "mlflow": "runs tracked with MLflow",
    "onnx": "models exported to ONNX, and answered by its runtime",
    "pandas": "pandas frames in and out",
    "postgres": "the event store in PostgreSQL",
    "tensorboard": "TensorBoard files in the run folder",
    "text": "text of items as features: sentence embeddings, mood",
    "wandb": "runs tracked with Weights & Biases",
}
"""Extra -> what it brings."""


class Extra(Payload):
    """One optional part of Onward."""

    name: str
    """Its name."""
    about: str
    """What it brings."""
    installed: bool
    """Whether its packages are there."""
    install: str
    """The command that installs it."""


class Gpu(Payload):
    """One GPU that PyTorch sees."""

    name: str
    """What it is."""
    memory: int
    """Bytes."""
    bf16: bool
    """Whether it computes in bf16."""


class Machine(Payload):
    """What this machine has."""

    format: Literal["onward.doctor/1"] = "onward.doctor/1"
    """Format and version."""
    onward: str
    """Version of Onward."""
    python: str
    """Version of Python."""
    system: str
    """Operating system and architecture."""
    processor: str
    """Its model."""
    cores: int
    """Cores that this process may run on."""
    memory: int | None
    """Bytes that this process may use; null where the system doesn't say."""
    torch: str
    """Version of PyTorch."""
    threads: int
    """Threads that PyTorch uses."""
    vectors: str
    """Vector instructions that PyTorch uses."""
    bf16: list[str]
    """bf16 units of the processor; empty when it has none."""
    compiled: bool
    """Whether the loss over the whole catalog was compiled for this processor, so that PyTorch needn't make it."""
    gpus: list[Gpu]
    """GPUs that PyTorch sees."""
    extras: list[Extra]
    """Optional parts."""
    cache: str
    """Folder of fetched data sets."""
    cached: list[str]
    """What is in it."""


def describe_machine() -> Machine:
    """All facts of this machine."""
    import torch

    from onward.data.datasets import cache_folder
    from onward.native.library import is_built

    info = cpu_info(Path("/proc/cpuinfo"))
    cache = cache_folder("any").parent
    return Machine(
        onward=version("onward"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=info["model"] or platform.processor() or "unknown",
        cores=usable_cores(),
        memory=memory_total(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        vectors=torch.backends.cpu.get_cpu_capability(),
        bf16=info["bf16"],
        compiled=is_built(),
        gpus=[_gpu(index) for index in range(torch.cuda.device_count())],
        extras=extras(),
        cache=str(cache),
        cached=sorted(folder.name for folder in cache.glob("*") if not folder.name.startswith(".")),
    )


def cpu_info(file: Path) -> dict[str, Any]:
    """Model name and the bf16 units (AMX_BF16, AVX512_BF16, Arm's BF16) that Linux reports; empty elsewhere."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    units = [name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in present]
    return {"model": model[1].strip() if model else "", "bf16": [name.upper() for name in units]}


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_busy() -> bool:
    """Whether other work takes more than a quarter of the cores, by the load of the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.25 * usable_cores()


def memory_total(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Bytes of memory, or of the container's limit where that is less; None where the system doesn't say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else ""
    return min(installed, int(allowed)) if allowed.isdigit() else installed


def extras() -> list[Extra]:
    """Each extra: what it brings, whether its packages are installed, and the command that installs it."""
    needed: dict[str, list[str]] = {name: [] for name in EXTRAS}
    for line in requires("onward") or []:
        found = re.match(r"""([A-Za-z0-9._-]+).*\bextra == ['"]([a-z]+)['"]""", line)
        if found and found[2] in needed:
            needed[found[2]].append(found[1])
    return [
        Extra(
            name=name,
            about=EXTRAS[name],
            installed=all(_is_installed(package) for package in packages),
            install=f"{Path(sys.executable).name} -m pip install 'onward[{name}]'",
        )
        for name, packages in needed.items()
    ]


def give_back_memory() -> None:
    """Give memory that was freed back to the system, where the C library would keep it (glibc).

    Tensors of ever new sizes leave gaps in its heap, which grew to several times what was in use within minutes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _is_installed(package: str) -> bool:
    try:
        metadata(package)
    except PackageNotFoundError:
        return False
    return True


def _gpu(index: int) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(index)
    return Gpu(name=facts.name, memory=facts.total_memory, bf16=torch.cuda.is_bf16_supported())
