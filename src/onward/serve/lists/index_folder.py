"""Indexes kept between two loads of a model, in the server's folder of models and never in a bundle.

::

    .indexes/HASH/             HASH: of the bundle's manifest, which holds those of all its files
      index.faiss
      facts.json               what was measured, and what the index was made from and with
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from onward.data.dataset import sha256
from onward.errors import OutputError
from onward.files import atomic_folder
from onward.serve.lists.retrieval import IndexFacts, ItemIndex, build_index, load_faiss
from onward.serve.lists.scoring import Scorer

FORMAT = "onward.index/1"
FOLDER = ".indexes"
log = structlog.get_logger("onward.serve")


def kept_index(scorer: Scorer, bundle: Path, wanted: float, models: Path | None) -> ItemIndex:
    """The index of a bundle: the one kept in the folder of models, where it was made from the same; else a new one.

    Args:
        wanted: recall to reach.
        models: None where nothing is kept.

    Raises MissingExtraError without faiss.
    """
    manifest = sha256(bundle / "manifest.json")
    made_from = {"format": FORMAT, "bundle": manifest, "recall": wanted, "faiss": str(load_faiss().__version__)}
    place = None if models is None else models / FOLDER / manifest[:16]
    found = None if place is None else _read(place, made_from)
    if found is not None:
        log.info("index loaded", **asdict(found[1]))
        return ItemIndex(scorer, *found)
    index = build_index(scorer, wanted)
    log.info("index built", **asdict(index.facts))
    if place is not None and index.facts.worth:
        try:
            _write(place, made_from, index)
        except (OSError, OutputError) as error:  # it is built again with the next load
            log.warning("index not kept", reason=str(error))
    return index


def _read(place: Path, made_from: dict[str, Any]) -> tuple[Any, IndexFacts] | None:
    """(index, facts); None for one that isn't there, is damaged, or was made from something else."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((place / "facts.json").read_text(encoding="utf-8"))
        file = place / "index.faiss"
        if said["made_from"] == made_from and said["sha256"] == sha256(file):
            return load_faiss().read_index(str(file)), IndexFacts(**said["facts"])
    return None


def _write(place: Path, made_from: dict[str, Any], index: ItemIndex) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(place, overwrite=True) as new:
        load_faiss().write_index(index.index, str(new / "index.faiss"))
        facts = {"made_from": made_from, "sha256": sha256(new / "index.faiss"), "facts": asdict(index.facts)}
        (new / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
