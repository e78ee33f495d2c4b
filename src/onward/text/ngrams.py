"""Hashed character n-grams: vectors of texts of any script and language, without a model.

Weinberger, Dasgupta, Langford, Smola, Attenberg: "Feature Hashing for Large Scale Multitask Learning", ICML 2009,
https://arxiv.org/abs/0902.2206: each n-gram adds plus or minus its weight to one of `WIDTH` places, so that the
expected product of two vectors is that of the n-gram counts. N-grams of 2 to 4 characters cover words of scripts with
and without spaces; one that occurs c times weighs 1 + ln c. No statistics of other texts enter: a new text gets the
vector that it would have had at training.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH = 512
SIZES = (2, 3, 4)
"""Characters of an n-gram."""
_BATCH = 2_000_000
"""Characters that are hashed at once."""

Floats = NDArray[np.float32]


class NGrams:
    """Encoder `ngrams`."""

    name = "ngrams"
    english = False
    width = WIDTH
    fingerprint = f"ngrams/1/{WIDTH}/{'-'.join(map(str, SIZES))}"

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 512) float32 rows of length one; zero for a text without characters."""
        spelled = [f" {unicodedata.normalize('NFKC', text).casefold()} " if text else "" for text in texts]
        batch = np.cumsum([len(text) for text in spelled]) // _BATCH
        edges = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(spelled)]
        parts = [_vectors(spelled[first:last]) for first, last in pairwise(edges)]
        return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)


def _vectors(texts: Sequence[str]) -> Floats:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(codes))  # characters to the text's end
    rows, hashes = [], []
    for size in SIZES:
        first = np.flatnonzero(left >= size)
        value = np.full(len(first), size, dtype=np.uint64)
        for offset in range(size):
            value = _mix(value ^ codes[first + offset])
        rows.append(owner[first])
        hashes.append(value)
    row, value = np.concatenate(rows), np.concatenate(hashes)
    order = np.lexsort((value, row))
    row, value = row[order], value[order]
    new = np.ones(len(row), dtype=np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1])
    start = np.flatnonzero(new)
    weight = 1 + np.log(np.diff(np.append(start, len(row))))
    row, value = row[start], value[start]
    sign = np.where(value >> np.uint64(63), -1.0, 1.0)
    place = (value % np.uint64(WIDTH)).astype(np.int64)
    sums = np.bincount(row * WIDTH + place, sign * weight, minlength=len(texts) * WIDTH).reshape(-1, WIDTH)
    norm = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(norm == 0, 1, norm)).astype(np.float32)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, https://doi.org/10.1145/2660193.2660195)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
