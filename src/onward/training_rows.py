"""How the rows that a model trained on were made from histories, as every report says it.

Cutting a history into prefixes, or augmenting it, changes results more than most models do, and is often left unsaid.
"""

from __future__ import annotations

from onward.config import RunConfig, Windows
from onward.models.registry import model_class
from onward.payload import Payload


class TrainingRows(Payload):
    """The rows that a model trained on. Models compare where these differ, but the reader must know."""

    windows: Windows
    """`last`: the newest events of each history; `all`: all of it; `prefix`: a row for every event, its only target."""
    augment: list[str]
    """What was done to rows; empty for nothing."""
    augment_rows: float
    """Share of the rows that it was done to; 0 for none."""
    augment_strength: float
    """Share of such a row's events that it changed; 0 for none."""
    contrastive: float
    """Weight of the term that contrasts two views of a row; 0 for none. Where it is above, only second views change."""

    @property
    def augmentation(self) -> str:
        """In words: none, or what was done to how many rows."""
        if not self.augment:
            return "none"
        whose = "second views" if self.contrastive else "rows"
        return f"{', '.join(self.augment)} ({self.augment_rows:.0%} of {whose}, strength {self.augment_strength:g})"

    @property
    def contrast(self) -> str:
        """In words: none, or its weight and where views come from."""
        if not self.contrastive:
            return "none"
        return f"weight {self.contrastive:g}, views by {'augmentation and ' if self.augment else ''}dropout"

    @property
    def text(self) -> str:
        """All of it in one line."""
        contrast = f"; contrast: {self.contrast}" if self.contrastive else ""
        return f"windows: {self.windows}; augmentation: {self.augmentation}{contrast}"


def training_rows(config: RunConfig) -> TrainingRows | None:
    """Those of a run; None for a model that is fitted to whole histories in one call."""
    traits, train = model_class(str(config.model["name"])).traits, config.train
    if not traits.trainable:
        return None
    return TrainingRows(
        windows=train.windows or traits.windows[0],
        augment=list(train.augment),
        augment_rows=train.augment_rows if train.augment else 0.0,
        augment_strength=train.augment_strength if train.augment else 0.0,
        contrastive=config.model.get("contrastive", 0.0),
    )
