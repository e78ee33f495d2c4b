"""The server's models: a folder of bundles, one a version, and what it takes to trust one."""

from __future__ import annotations

from dataclasses import dataclass

from onward.bundle import Bundle


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to serve.

    Attributes:
        name: of its folder on the shelf.
        bundle: the model, its catalog and its manifest.
    """

    name: str
    bundle: Bundle
