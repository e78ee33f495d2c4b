"""Vectors of texts kept in the user's cache folder, by the content of encoder and text.

One folder an encoder, named by its fingerprint; in it one file a call that found texts missing: `keys` (n,) uint64,
hashes of the texts, and `vectors` (n, d) float32. A file is never changed, so any number of processes may share
the folder; a damaged one is as good as absent. The whole cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from onward.errors import OutputError
from onward.files import atomic_file

FEWEST = 64
"""Missing texts from which on their vectors are kept; a few are encoded as fast as files are written."""

Floats = NDArray[np.float32]


def cache_root() -> Path:
    """The folder of all encoders: in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "onward" / "text"


class VectorCache:
    """What one encoder has encoded before.

    Args:
        fingerprint: of the encoder: texts get other vectors when it changes.
    """

    def __init__(self, fingerprint: str) -> None:
        self.folder = cache_root() / hashlib.blake2b(fingerprint.encode(), digest_size=16).hexdigest()

    def find(self, texts: Sequence[str], width: int) -> tuple[Floats, NDArray[np.bool_]]:
        """(n, width) vectors of the texts, and (n,) bool: which of them were found; the others are zero."""
        keys = _keys(texts)
        vectors, found = np.zeros((len(texts), width), np.float32), np.zeros(len(texts), np.bool_)
        for file in sorted(self.folder.glob("*.safetensors")):
            if found.all():
                break
            stored = _read(file, width)
            if stored is None:
                continue
            known, rows = stored
            order = np.argsort(known)
            at = order[np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)]
            hit = ~found & (known[at] == keys)
            vectors[hit], found[hit] = rows[at[hit]], True
        return vectors, found

    def keep(self, texts: Sequence[str], vectors: Floats) -> None:
        """Store the vectors of distinct texts. A cache that can't be written costs encoding again, and no more."""
        if len(texts) < FEWEST:
            return
        keys = _keys(texts)
        name = hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest()
        stored = save({"keys": keys, "vectors": np.ascontiguousarray(vectors)})
        try:
            with atomic_file(self.folder / f"{name}.safetensors", overwrite=True) as new:
                new.write_bytes(stored)
        except OutputError:
            return


def _keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    digests = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _read(file: Path, width: int) -> tuple[NDArray[np.uint64], Floats] | None:
    """Keys and vectors of one file; None where it is not sound."""
    try:
        stored = load(file.read_bytes())
        keys, vectors = stored["keys"], stored["vectors"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    if keys.shape != (len(vectors),) or vectors.shape[1:] != (width,) or not len(vectors):
        return None
    return keys, vectors
