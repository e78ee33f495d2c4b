"""Onward: from an event log to a live recommender.

::

    import onward

    onward.prepare("events.csv", "dataset")
    onward.train("dataset", "sasrec", "run")
    onward.evaluate("run")

The names below are loaded when first used, so that `import onward` is instant.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onward.bundle import export as export
    from onward.bundle import load_bundle as load
    from onward.client import Client as Client
    from onward.data.audit import audit as audit
    from onward.data.dataset import open_dataset as open_dataset
    from onward.data.datasets import get_dataset as get_dataset
    from onward.data.prepare import prepare as prepare
    from onward.drift.run import drift as drift
    from onward.evaluate.compare import compare as compare
    from onward.evaluate.protocol import evaluate as evaluate
    from onward.evaluate.report import write_report as write_report
    from onward.prequential.walk import prequential as prequential
    from onward.recommend import recommend as recommend
    from onward.recommend import recommend_all as recommend_all
    from onward.search.run import auto as auto
    from onward.search.run import tune as tune
    from onward.train.run import train as train
    from onward.train.several import train_seeds as train_seeds
    from onward.update.run import update as update

__version__ = "0.1.0"

_NAMES = {
    "Client": "onward.client:Client",
    "audit": "onward.data.audit:audit",
    "auto": "onward.search.run:auto",
    "compare": "onward.evaluate.compare:compare",
    "drift": "onward.drift.run:drift",
    "evaluate": "onward.evaluate.protocol:evaluate",
    "export": "onward.bundle:export",
    "get_dataset": "onward.data.datasets:get_dataset",
    "load": "onward.bundle:load_bundle",
    "open_dataset": "onward.data.dataset:open_dataset",
    "prepare": "onward.data.prepare:prepare",
    "prequential": "onward.prequential.walk:prequential",
    "recommend": "onward.recommend:recommend",
    "recommend_all": "onward.recommend:recommend_all",
    "train": "onward.train.run:train",
    "train_seeds": "onward.train.several:train_seeds",
    "tune": "onward.search.run:tune",
    "update": "onward.update.run:update",
    "write_report": "onward.evaluate.report:write_report",
}

__all__ = [
    "Client",
    "__version__",
    "audit",
    "auto",
    "compare",
    "drift",
    "evaluate",
    "export",
    "get_dataset",
    "load",
    "open_dataset",
    "prepare",
    "prequential",
    "recommend",
    "recommend_all",
    "train",
    "train_seeds",
    "tune",
    "update",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'onward' has no attribute '{name}'")
    module, _, attribute = _NAMES[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `onward.train` the function.

    Python binds a subpackage to its parent when it is first imported, and `train`, `evaluate` and `recommend`
    are both the names of modules and the public functions inside them: the functions win.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _NAMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
