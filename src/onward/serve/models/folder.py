"""The server's models: a folder of bundles, one a version, and what it takes to trust one.

A version's name is its model's and the beginning of its manifest's hash, so that the same bundle has the same name on
every machine; a folder that somebody puts there by hand keeps the name it has.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog
import torch

from onward.bundle import Bundle, load_bundle
from onward.data.dataset import sha256
from onward.errors import ConfigError, FormatError, InputError, OutputError, unknown
from onward.files import atomic_folder
from onward.serve.lists.index_folder import kept_index
from onward.serve.lists.retrieval import ItemIndex
from onward.serve.lists.scoring import Scorer
from onward.serve.models.archives import unpack
from onward.serve.settings import ModelsConfig, ServeConfig

PROBED = 16
"""Histories that a model is tried on when it is loaded."""
HASH_LETTERS = 8
log = structlog.get_logger("onward.serve")


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to serve.

    Attributes:
        name: of its folder on the shelf.
        bundle: the model, its catalog and its manifest.
        scorer: how the model computes here.
        index: over the items, where the catalog is large.
    """

    name: str
    bundle: Bundle
    scorer: Scorer
    index: ItemIndex | None = None


def load_model(name: str, folder: Path, settings: ServeConfig, models: Path | None = None) -> LoadedModel:
    """Load a bundle or a run's model, verify every hash, and try it.

    Args:
        models: where the index of a large catalog is kept; None: nowhere.

    Raises FormatError for a bundle that isn't sound, one whose graph differs from its weights, or one that gives scores
    that aren't finite; MissingExtraError where the catalog is so large that it needs an index and faiss isn't there.
    """
    bundle = load_bundle(folder)
    scorer = Scorer(bundle, settings.models.onnx, settings.models.remembered_mib * 2**20)
    _try(scorer, name)
    facts = {} if scorer.speed is None else {"own_ms": scorer.speed.own, "onnx_ms": scorer.speed.onnx}
    log.info("model tried", model=name, onnx=scorer.uses_onnx, **facts)
    if not scorer.has_states or scorer.trained.sum() <= settings.retrieval.exact_items:
        return LoadedModel(name, bundle, scorer)
    return LoadedModel(name, bundle, scorer, kept_index(bundle.path, settings.retrieval.recall, models))


def _try(scorer: Scorer, name: str) -> None:
    """Scores after histories drawn by popularity must be finite."""
    if not scorer.trained.any():
        raise FormatError(f"model '{name}' saw no item in training", "train it again")
    scores = scorer.scores(scorer.typical(PROBED))
    if not scores[:, torch.from_numpy(scorer.trained)].isfinite().all():
        raise FormatError(f"model '{name}' gives scores that are not finite", "train it again")


class ModelShelf:
    """A folder of bundles.

    Args:
        folder: made when the first archive comes.
    """

    def __init__(self, folder: Path, settings: ModelsConfig | None = None) -> None:
        self.folder, self._settings = folder, settings or ModelsConfig()

    def names(self) -> list[str]:
        """Names of the bundles here, in order of the alphabet."""
        if not self.folder.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.folder.iterdir()
            if not entry.name.startswith(".") and (entry / "manifest.json").is_file()
        )

    def path(self, name: str) -> Path:
        """A bundle's folder. Raises ConfigError for a name that isn't here, so that no path can be asked for."""
        if name not in self.names():
            raise ConfigError(unknown("model", name, self.names()), f"put its folder into {self.folder}")
        return self.folder / name

    def receive(self, archive: IO[bytes]) -> str:
        """Take a bundle that somebody sent and return its name; the same one again changes nothing.

        Args:
            archive: seekable; `.tar`, `.tar.gz` or `.zip`.

        Raises FormatError for an archive or a bundle that isn't sound, OutputError when it can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".received-", dir=self.folder) as place:
                new = Path(place)
                unpack(archive, new, self._settings)
                name = _sound(new)
                if name not in self.names():
                    with atomic_folder(self.folder / name) as kept:
                        for file in new.iterdir():
                            file.rename(kept / file.name)
        except OSError as error:
            raise OutputError(f"can't write into the folder of models: {error.strerror}", "free space there") from None
        return name


def _sound(folder: Path) -> str:
    """The name of a bundle that was just unpacked. Raises FormatError, which doesn't name the folder."""
    try:
        bundle = load_bundle(folder)
        _try(Scorer(bundle), "sent")
    except InputError as error:
        said = error.message.replace(f"{folder}/", "").replace(str(folder), "the bundle")
        raise FormatError(f"the archive holds no sound bundle: {said}", error.hint) from None
    return f"{bundle.manifest.model}-{sha256(folder / 'manifest.json')[:HASH_LETTERS]}"
