"""The augmentation of one training: settings, and the items that are like each other by the training events."""

from __future__ import annotations

import numpy as np

from onward.config import TrainConfig
from onward.data.augment import BY_SIMILARITY, Augmentation
from onward.data.sequences import Histories, Ints
from onward.data.targets import is_limited
from onward.errors import ConfigError
from onward.models.base import Items
from onward.models.neighbours import ItemKNN
from onward.models.sequence import SequenceModel

SIMILAR = 5
"""Most similar items that may stand for an item."""


def check_augmentation(model: SequenceModel, training: Histories, config: TrainConfig) -> None:
    """Raise ConfigError, naming why, where augmentation or contrast is asked for and can't be done."""
    grouped, weighed = "group" in training.columns, is_limited(training)
    if weighed and (model.traits.cloze or model.config.contrastive > 0):
        reason = f"model '{model.name}' hides" if model.traits.cloze else "model.contrastive looks at"
        raise ConfigError(
            f"split.target_action and train.action_weights choose targets, and {reason} events of all actions",
            "leave them out, or choose another model or loss",
        )
    if model.config.contrastive > 0 and grouped:
        raise ConfigError(
            "model.contrastive pulls rows with the same next item together, and here groups of events come next",
            "leave it out, or prepare the data without groups",
        )
    reasons = {
        f"model '{model.name}' hides events itself": model.traits.cloze,
        "actions choose the targets, and transforms move events of any": weighed,
        "the events have groups, and transforms move single events": grouped,
        "interest reads the values of events, and other items have none": model.config.learns_interest,
    }
    if model.featured is not None and (training.inputs or training.known or training.about or training.friends):
        reasons["the model reads features of events or of users, and other items have none"] = True
    for reason, applies in reasons.items():
        if applies and config.augment:
            raise ConfigError(f"train.augment = {list(config.augment)}: {reason}", "leave train.augment out")


def make_augmentation(model: SequenceModel, training: Histories, config: TrainConfig) -> Augmentation | None:
    """What the settings ask for, None for nothing. Raises as `check_augmentation`."""
    check_augmentation(model, training, config)
    if not config.augment:
        return None
    needed = any(name in BY_SIMILARITY for name in config.augment)
    similar = similar_items(training, model.items) if needed else None
    return Augmentation(config.augment, config.augment_rows, config.augment_strength, similar)


def similar_items(training: Histories, items: Items) -> Ints:
    """(V + 1, SIMILAR) int64: the items that most users of an item had too (`item-knn`), best first, then zeros."""
    model = ItemKNN(ItemKNN.Config(neighbours=SIMILAR), items)
    model.fit(training)
    table = model.similar.tocoo()
    order = np.lexsort((-table.data, table.row))
    rows, columns = table.row[order], table.col[order]
    found = np.zeros((items.n + 1, SIMILAR), dtype=np.int64)
    counts = np.bincount(rows, minlength=items.n + 1)
    found[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = columns
    return found
