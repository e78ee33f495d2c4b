"""Where this server's models come from: the bundle of the command line, and the folder of further ones."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from onward.errors import ConfigError, unknown
from onward.manifest import bundle_folder
from onward.serve.lists.engine import Engine
from onward.serve.models.folder import ModelShelf
from onward.serve.models.warm import start_engine
from onward.serve.process.launch import model_name
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import EventStore


class Shelf:
    """Both under their names.

    Args:
        store: whose histories engines read.
        settings: `serve.toml`.
        models: folder of bundles; None where there is none.
        model: bundle or run of the command line; None where the store says which model serves.
    """

    def __init__(self, store: EventStore, settings: ServeConfig, models: str | None, model: str | None) -> None:
        self._store, self._settings = store, settings
        self._shelf = None if models is None else ModelShelf(Path(models), settings.models)
        self._own = {} if model is None else {model_name(Path(model)): bundle_folder(model)}

    def names(self) -> list[str]:
        """Names that can be loaded."""
        return sorted({*self._own, *(self._shelf.names() if self._shelf else ())})

    def path(self, name: str) -> Path:
        """A bundle's folder. Raises ConfigError for an unknown name."""
        if name in self._own:
            return self._own[name]
        if self._shelf is None:
            raise ConfigError(unknown("model", name, self._own), "start the server with --models FOLDER")
        return self._shelf.path(name)

    def engine(self, name: str) -> Engine:
        """Load, check and warm a model. Raises OnwardError saying what is wrong with it."""
        models = None if self._shelf is None else self._shelf.folder
        return start_engine(name, self.path(name), self._store, self._settings, models)

    def receive(self, archive: IO[bytes]) -> str:
        """Take an archive of a bundle; returns its name.

        Raises ConfigError where there is no folder of models, FormatError for what is no sound bundle.
        """
        if self._shelf is None:
            raise ConfigError("this server has no folder of models", "start it with --models FOLDER")
        return self._shelf.receive(archive)
