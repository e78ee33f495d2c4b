"""The server's models: a folder of bundles, one a version, and what it takes to trust one."""

from __future__ import annotations

from dataclasses import dataclass

from onward.bundle import Bundle
from onward.serve.scoring import Scorer


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to serve.

    Attributes:
        name: of its folder on the shelf.
        bundle: the model, its catalog and its manifest.
        scorer: how the model computes here.
    """

    name: str
    bundle: Bundle
    scorer: Scorer
