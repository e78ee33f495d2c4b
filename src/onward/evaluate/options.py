"""What a protocol leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from onward.errors import ConfigError, unknown
from onward.evaluate.interest import DEFAULT_THRESHOLD

Cold = Literal["miss", "drop", "items", "users"]
KS = (5, 10, 20)
"""Cut-offs of every metric; the middle one is what tables show."""


@dataclass(frozen=True)
class Options:
    """Choices of whoever evaluates; each is stated in the result's protocol.

    Attributes:
        seen: whether items of the history may be recommended; None as the model's bundle says.
        cold: whether targets that training never saw are misses or left out; or that requests for cold items, or of
            cold users, alone are measured (`onward.evaluate.cold`).
        ks: cut-offs.
        threshold: observed interest from which on an item counts as liked.
        decision: predicted interest from which on it is taken for liked; None: what gives the best F1 on validation.
        seed: of the resampled users.
    """

    seen: Literal["exclude", "include"] | None = None
    cold: Cold = "miss"
    ks: tuple[int, ...] = KS
    threshold: float = DEFAULT_THRESHOLD
    seed: int = 0
    decision: float | None = None

    def __post_init__(self) -> None:
        if self.seen not in (None, "exclude", "include"):
            raise ConfigError(unknown("seen rule", str(self.seen), ("exclude", "include")))
        if self.cold not in get_args(Cold):
            raise ConfigError(unknown("cold rule", str(self.cold), get_args(Cold)))
        if not self.ks or min(self.ks) < 1:
            raise ConfigError(f"ks = {list(self.ks)}: cut-offs are whole numbers from 1 on", "for example 5 10 20")

    def stated(self, seen_by_default: str) -> dict[str, object]:
        """These choices as a result's protocol states them."""
        return {
            "seen": self.seen or seen_by_default,
            "cold": self.cold,
            "ks": list(self.ks),
            "threshold": self.threshold,
            "decision": "best F1 on validation" if self.decision is None else self.decision,
            "intervals": f"95%, users resampled, seed {self.seed}",
        }
