"""What a site tells the server with a request: features of its user, and those of the event to come that are known."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import JsonValue

from onward.data.dataset import Dataset
from onward.data.sequences import Ints
from onward.data.split import Part
from onward.serve.store.importing import DatasetEvents


class Contexts:
    """Contexts of the requests of a part.

    Args:
        data: whose users have features, and whose events say what is known of them at the request.
    """

    def __init__(self, data: Dataset, part: Part, make: DatasetEvents) -> None:
        self._part, self._make, self._known = part, make, data.manifest.known_at_request
        times = [name for name in data.manifest.user_features if data.users.schema[name].is_temporal()]
        self._users = data.users.select(*data.manifest.user_features).with_columns(
            pl.col(name).cast(pl.Datetime("us")).cast(pl.Int64) for name in times
        )

    def __call__(self, rows: Ints) -> list[dict[str, JsonValue]]:
        """Feature -> value of each of some requests, missing ones left out."""
        users = self._part.user[rows]
        events = self._make(self._part.target_start[rows], users)
        about = self._users[users].to_dicts() if self._users.width else [{}] * len(users)
        found = []
        for user, event in zip(about, events, strict=True):
            said = {"action": event.action, "value": event.value, **event.features}
            known = {**user, **{name: said.get(name) for name in self._known}}
            found.append({name: value for name, value in known.items() if _there(value)})
        return found

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._known or self._users.width)


def _there(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and np.isnan(value))
