"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import onward

TRACKERS = {"tensorboard", "tensorboardX", "mlflow", "wandb"}
HEAVY = {"torch", "polars", "numpy", "scipy", "pandas", "pyarrow", "fastapi", "rich.progress", *TRACKERS}


def loaded_after(code: str) -> set[str]:
    """Modules in memory after running code in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("MODULES", 1)[1].split())


def test_import_onward_loads_nothing_heavy() -> None:
    assert not loaded_after("import onward") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["data", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    modules = loaded_after(f"from onward.cli.main import main\nassert main({arguments}) == 0")
    assert "onward.cli.main" in modules
    assert not modules & HEAVY


def test_the_client_loads_httpx_and_errors_alone() -> None:
    modules = loaded_after("import onward\nassert onward.Client.__name__ == 'Client'")
    assert {name for name in modules if name.startswith("onward.")} == {"onward.client", "onward.errors"}
    assert "httpx" in modules
    assert not modules & {*HEAVY - {"rich.progress"}, "pydantic"}  # httpx has a command line of its own


def test_heavy_modules_are_noticed() -> None:
    assert "numpy" in loaded_after("import onward\nonward.open_dataset")


@pytest.mark.parametrize("name", [name for name in onward.__all__ if name != "__version__"])
def test_public_name_resolves(name: str) -> None:
    assert callable(getattr(onward, name))
    assert getattr(onward, name).__doc__
    assert name in dir(onward)


def test_names_and_targets_agree() -> None:
    assert sorted(onward._NAMES) == [name for name in onward.__all__ if name != "__version__"]


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        onward.nothing_of_that_name  # noqa: B018


def test_functions_win_over_subpackages_of_the_same_name() -> None:
    firsts = ["import onward.train.run", "from onward.evaluate import protocol", "onward.train"]
    code = "import onward\n{}\nassert onward.train.__name__ == 'train' and callable(onward.train)\n"
    code += "from onward.train import run\nassert run.train is onward.train\nassert callable(onward.evaluate)"
    # a process each, which begins when what takes seconds is loaded
    loaded = "import os, numpy, polars, torch\nfor code in {!r}:\n    if os.fork() == 0:\n        exec(code)\n"
    loaded += "        os._exit(0)\n    assert os.wait()[1] == 0"
    loaded_after(loaded.format([code.format(first) for first in firsts]))
