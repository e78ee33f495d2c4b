"""What an update does, and which update a folder of work belongs to."""

from __future__ import annotations

from pydantic import Field

from onward.config import Config, FineTuneConfig, SplitConfig
from onward.evaluate.gate import MARGIN


class UpdateConfig(Config):
    """Settings of `onward update`."""

    held_out: float = Field(0.3, gt=0, lt=1)
    """Share of the new events, the newest, that the gate predicts and the candidate isn't trained on."""
    margin: float = Field(MARGIN, ge=0, lt=1)
    """Share of the current NDCG@10 that the lower end of the interval may lie below zero."""
    fine_tune: FineTuneConfig = FineTuneConfig()
    """How the model goes on learning."""


class Plan(Config):
    """One update, by all that decides its result."""

    parent: str
    """SHA-256 of the weights of the model that is updated."""
    dataset: str
    """Content hash of the new data."""
    since: int
    """First instant of what that model hasn't learned from, microseconds UTC."""
    held_out_from: int
    """First instant of what the gate predicts."""
    seed: int = Field(0, ge=0)
    """Of batches, dropout, who is replayed, and the users resampled."""
    config: UpdateConfig
    """Settings."""

    def protocol(self, own: SplitConfig) -> SplitConfig:
        """The split of the gate: new events train too, up to those held out. `own` is the split of the model."""
        return SplitConfig(
            protocol="time",
            valid_from=self.since,
            test_from=self.held_out_from,
            refit=True,
            target_action=own.target_action,
            request_time=own.request_time,
        )
