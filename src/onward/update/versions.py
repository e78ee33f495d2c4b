"""The versions of a model: folders side by side, numbered, each with where it comes from in its manifest."""

from __future__ import annotations

import re
from pathlib import Path

from onward.bundle import read_manifest
from onward.errors import FormatError
from onward.manifest import BundleManifest
from onward.update.settings import Plan


def next_version(model: Path) -> Path:
    """The folder of the next version: `shop-3` after `shop-2`, `shop-2` after `shop`, past all that are there."""
    name, number = _numbered(model.resolve().name)
    there = [number]
    for folder in model.resolve().parent.iterdir():
        other, its = _numbered(folder.name)
        if other == name and folder.is_dir():
            there.append(its)
    return model.parent / f"{name}-{max(there) + 1}"


def _numbered(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)-(\d{1,6})", name)
    return (found[1], int(found[2])) if found else (name, 1)


def made_by(plan: Plan, folder: Path) -> BundleManifest | None:
    """The manifest of a version that this very update has written; None for any other folder.

    Raises FormatError for a bundle that isn't sound.
    """
    if not (folder / "manifest.json").is_file():
        return None
    manifest = read_manifest(folder)
    if manifest.lineage is None or manifest.lineage.plan != plan.model_dump(mode="json"):
        return None
    return manifest


def found_version(plan: Plan, model: Path) -> Path | None:
    """The version beside a model that this very update has written, perhaps before it was killed."""
    name, _ = _numbered(model.resolve().name)
    for folder in sorted(model.resolve().parent.iterdir()):
        if folder.is_dir() and _numbered(folder.name)[0] == name:
            try:
                if made_by(plan, folder) is not None:
                    return model.parent / folder.name
            except FormatError:
                continue  # not sound, so not what is looked for
    return None
