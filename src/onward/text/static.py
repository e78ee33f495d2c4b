"""A vector a word piece, averaged: an encoder without a transformer, for items that arrive while a server answers.

Distilled from all-MiniLM-L6-v2 in the way of Model2Vec (Tulkens, van Dongen,
https://github.com/MinishLab/model2vec), whose package runs it: every word piece goes through the transformer alone, the
vectors are reduced to 256 by PCA and weighted by rarity (Arora, Liang, Ma, ICLR 2017,
https://openreview.net/forum?id=SyK00v5xx). Made once, in under a minute, and kept in the cache folder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onward.errors import MissingExtraError
from onward.files import atomic_folder
from onward.progress import shown_progress
from onward.text.cache import cache_root
from onward.text.sentences import Sentences, offline

if TYPE_CHECKING:
    from model2vec import StaticModel

WIDTH = 256
PIECES = 2048
"""Word pieces that go through the transformer at once."""
RARITY = 1e-4
"""Share of all words at which a weight is halved."""

Floats = NDArray[np.float32]


class Static:
    """Encoder `static`.

    Args:
        folder: of the transformer (`Sentences`).
    """

    name = "static"
    english = True
    width = WIDTH

    def __init__(self, folder: Path) -> None:
        self._source = Sentences("minilm", folder, english=True)

    @cached_property
    def fingerprint(self) -> str:
        """That of the transformer, and how it is distilled."""
        return f"static/1/{WIDTH}/{self._source.fingerprint}"

    @cached_property
    def model(self) -> StaticModel:
        """The distilled model, from the cache folder or made now."""
        offline()
        try:
            from model2vec import StaticModel
        except ImportError:
            raise MissingExtraError("model2vec", "text") from None
        folder = cache_root() / "static" / self.fingerprint.rpartition("/")[2][:32]
        if not (folder / "model.safetensors").is_file():
            distil(self._source, folder)
        return StaticModel.from_pretrained(folder)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 256) float32 rows of length one; zero for a text without a known word piece."""
        vectors: Any = self.model.encode(list(texts), use_multiprocessing=False)
        return np.asarray(vectors, dtype=np.float32)


def distil(source: Sentences, folder: Path) -> None:
    """Write the static model of a transformer with a tokenizer of word pieces, ordered by how frequent they are."""
    import torch
    from model2vec import StaticModel

    pieces = source.model.tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
    start, end = source.model.tokenizer.cls_token_id, source.model.tokenizer.sep_token_id
    vectors = []
    with torch.inference_mode(), shown_progress(f"distilling {source.name}", None) as report:
        for first in range(0, len(pieces), PIECES):
            piece = torch.arange(first, min(first + PIECES, len(pieces)))
            ids = torch.stack([torch.full_like(piece, start), piece, torch.full_like(piece, end)], dim=1)
            states = source.model({"input_ids": ids.to(source.model.device), "attention_mask": torch.ones_like(ids)})
            vectors.append(states["sentence_embedding"].cpu())
            report(first + len(piece), len(pieces))
    weighted = _reduced(torch.cat(vectors).numpy()) * _rarity(len(pieces))[:, None]
    special = [place for piece, place in pieces.items() if piece.startswith("[")]  # [CLS], [unused7]: no words
    weighted[special] = 0
    tokenizer = copy.deepcopy(source.model.tokenizer.backend_tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with atomic_folder(folder, overwrite=True) as new:
        StaticModel(weighted.astype(np.float32), tokenizer, normalize=True).save_pretrained(new)


def _reduced(vectors: Floats) -> NDArray[np.float64]:
    """(n, WIDTH): the directions in which (n, d) vectors differ most."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced: NDArray[np.float64] = centred @ directions[:, ::-1][:, :WIDTH]
    return reduced


def _rarity(n: int) -> NDArray[np.float64]:
    """(n,) weights a / (a + p) of word pieces whose frequencies p follow Zipf's law in their order."""
    share = 1 / (np.arange(n) + 2)
    weights: NDArray[np.float64] = RARITY / (RARITY + share / share.sum())
    return weights
