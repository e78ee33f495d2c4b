"""The index of a bundle: the one that was kept, or a new one, built by a process of its own.

Building takes several times the memory of the index, which a process doesn't give back when it is done. So another one
builds, measures and writes, and the server reads the file, if the index turns out to be worth using.

Indexes are kept between two loads of a model in the server's folder of models, and never in a bundle::

    .indexes/HASH/             HASH: of the bundle's manifest, which holds those of all its files
      index.faiss
      facts.json               what was measured, and what the index was made from and with
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
import torch

from onward.bundle import load_bundle
from onward.data.dataset import sha256
from onward.errors import OutputError
from onward.files import atomic_folder
from onward.serve.lists.retrieval import IndexFacts, ItemIndex, build_index, load_faiss
from onward.serve.lists.scoring import Scorer

FORMAT = "onward.index/2"
FOLDER = ".indexes"
INDEX, FACTS = "index.faiss", "facts.json"
log = structlog.get_logger("onward.serve")


def kept_index(bundle: Path, wanted: float, models: Path | None) -> ItemIndex | None:
    """The index of a bundle: the one kept in the folder of models, where it was made from the same; else a new one.
    None where computing every score is as good.

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
        log.info("index loaded", **asdict(found.facts))
        return found
    with tempfile.TemporaryDirectory(prefix="onward-index-") as folder:
        made = Path(folder)
        facts = _build_in(made, bundle, made_from)
        if facts is None:
            return None
        log.info("index built", **asdict(facts))
        if not facts.worth(wanted):
            log.info("index not used: every score is computed as fast, or it finds too little", bundle=bundle.name)
            return None
        index = _read(made, made_from)
        if place is not None:
            try:
                _keep(made, place)
            except (OSError, OutputError) as error:  # it is built again with the next load
                log.warning("index not kept", reason=str(error))
        return index


def _build_in(folder: Path, bundle: Path, made_from: dict[str, Any]) -> IndexFacts | None:
    """Have an index built into a folder; what was measured, or None, with a line in the log, where that failed."""
    words = [str(bundle), str(folder), json.dumps(made_from), str(torch.get_num_threads())]
    with subprocess.Popen(
        [sys.executable, "-m", "onward.serve.lists.index_folder", *words],
        stdin=subprocess.PIPE,  # it ends when this process does
        stdout=subprocess.DEVNULL,
    ) as process:
        code = process.wait()
    if code:
        log.error("index not built: every score is computed", bundle=bundle.name, code=code)
        return None
    return IndexFacts(**json.loads((folder / FACTS).read_text(encoding="utf-8"))["facts"])


def _read(place: Path, made_from: dict[str, Any]) -> ItemIndex | None:
    """None for one that isn't there, is damaged, or was made from something else."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((place / FACTS).read_text(encoding="utf-8"))
        file = place / INDEX
        if said["made_from"] == made_from and said["sha256"] == sha256(file):
            return ItemIndex(load_faiss().read_index(str(file)), IndexFacts(**said["facts"]))
    return None


def _write(place: Path, made_from: dict[str, Any], index: ItemIndex) -> None:
    load_faiss().write_index(index.index, str(place / INDEX))
    said = {"made_from": made_from, "sha256": sha256(place / INDEX), "facts": asdict(index.facts)}
    (place / FACTS).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _keep(made: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(place, overwrite=True) as new:
        for name in (INDEX, FACTS):
            shutil.copyfile(made / name, new / name)


def main() -> None:
    """Build: bundle, folder, what it is made from, threads."""
    bundle, folder, made_from, threads = sys.argv[1:]
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(int(threads))
    _build(Path(folder), Path(bundle), json.loads(made_from))


def _build(folder: Path, bundle: Path, made_from: dict[str, Any]) -> None:
    """Build an index into a folder."""
    _write(folder, made_from, build_index(Scorer(load_bundle(bundle), onnx=False), made_from["recall"]))


def _follow_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
