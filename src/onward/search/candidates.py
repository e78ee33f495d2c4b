"""Which models are tried, and where each starts: rules from what was measured on public files.

The figures behind them are in docs/results.md and bench/FAMILY.md. A rule is a starting point: the search leaves it
for whatever validates better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from onward.config import TrainConfig
from onward.errors import ConfigError
from onward.models.base import ModelConfig, Recommender
from onward.models.registry import model_class
from onward.models.sequence import SequenceConfig
from onward.search.facts import Facts
from onward.space import Choice, Range, Space, Value, spaces

RATE = "train.learning_rate"
LENGTHS = (20, 50, 100, 200)
"""Windows to choose from: the shortest that holds 95% of the histories."""
LONG, SHORT = 50, 20
"""Median lengths from which histories are long, and below which they are short."""
WARMUP_LEAST, WARMUP_MOST = 10, 100
"""Steps of warm-up: an epoch, but between these."""
MEMORY_SHARE = 0.1
"""Share of the memory that one batch's activations may take."""
SOLVED_PER_SECOND = 1.5e10
"""Of EASE on one core: items ** 3 a second, about."""
MANY_EVENTS = 20_000_000
"""More training events than this are too many for models that compare users with users."""

BY_AGE = "model.half_life_days"
"""A setting that is one of times: not searched where the data has none."""


@dataclass(frozen=True)
class Candidate:
    """A model to try.

    Attributes:
        model: its name.
        reason: why it is tried, one sentence.
        starts: settings to begin with, `model.width` style, a mapping a trial.
        fixed: settings that every trial of it has, found from the data.
        space: settings that are searched; those of `starts` are among them.
        suggested: settings to try before any others, when the search comes to new ones.
    """

    model: str
    reason: str
    starts: tuple[Mapping[str, Value], ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    space: Mapping[str, Space] = field(default_factory=dict)
    suggested: tuple[Mapping[str, Value], ...] = ()

    @property
    def cls(self) -> type[Recommender]:
        """The model's class."""
        return model_class(self.model)

    @property
    def trained(self) -> bool:
        """Whether it is trained epoch by epoch, and not fitted in one call."""
        return self.cls.traits.trainable

    def trying(self, rate: float | None) -> Candidate:
        """The same with its first start at another learning rate among what is tried, as near to that as its space is;
        None adds nothing."""
        space = self.space.get(RATE)
        if rate is None or not isinstance(space, Range):
            return self
        inside = float(f"{min(space.high, max(space.low, rate)):.2g}")
        return replace(self, suggested=({**self.starts[0], RATE: inside},))

    def without(self, given: Set[str]) -> Candidate:
        """The same without settings that were given, `model.width` style: they are not searched."""
        starts = [{key: value for key, value in start.items() if key not in given} for start in self.starts]
        return replace(
            self,
            starts=tuple({tuple(start.items()): start for start in starts}.values()),
            fixed={key: value for key, value in self.fixed.items() if key not in given},
            space={key: space for key, space in self.space.items() if key not in given},
        )


def static_candidates(facts: Facts, budget: float) -> list[Candidate]:
    """Models that are fitted in one call, the cheapest first.

    Args:
        budget: seconds in all, of which EASE may take a fiftieth at a time.
    """
    found = [("popularity", "the least that any model must beat")]
    if facts.seen == "include":
        share = f"{facts.repeat_share:.0%} of the events are repeats"
        found.append(("personal-frequency", f"{share}: what somebody had often is had again"))
    found.append(("markov", "cheap, and what followed the last item is hard to beat where histories are short"))
    found.append(("item-knn", "cheap; ahead of recurrent networks on sparse logs"))
    if facts.events <= MANY_EVENTS:
        found.append(("user-knn", "cheap; second only to attention on sessions"))
    limit = model_class("ease").traits.max_items or 0
    if facts.items <= limit and facts.items**3 / SOLVED_PER_SECOND <= budget / 50:
        found.append(("ease", f"exact, and {facts.items:,} items are few enough for it"))
    return [candidate(name, facts, reason) for name, reason in found]


def trained_candidates(facts: Facts, memory: int | None) -> list[Candidate]:
    """Models that are trained epoch by epoch, the most promising first; the budget says how many of them take part.

    Args:
        memory: bytes that the machine has, for the size of a batch; None for as much as it takes.
    """
    found = [
        ("sasrec", "first or second on five public files when trained to the end, and the cheapest of the strong ones"),
        ("esasrec", "first or level with the first on five public files at an equal budget"),
    ]
    session = facts.seen == "include" and facts.median_length < SHORT
    gru = ("gru", "the classic of sessions, strong when tuned")
    hstu = ("hstu", "reads times; level with the first on films and toys")
    lru = ("lrurec", "third or fourth on four of five files, and its state moves on in one step")
    timed = facts.span_days is not None
    found += [gru, lru, hstu] if session else [hstu, gru, lru] if timed else [gru, hstu, lru]
    found.append(("nextitnet", "convolutions: another kind of network, third on video games"))
    return [candidate(name, facts, reason, memory) for name, reason in found]


def candidate(model: str, facts: Facts, reason: str, memory: int | None = None) -> Candidate:
    """A model with its space, the settings that the data decides, and where its search starts.

    Raises ConfigError for an unknown model.
    """
    cls = model_class(model)
    space: dict[str, Space] = {f"model.{name}": one for name, one in spaces(cls.Config).items()}
    if facts.span_days is None:
        space.pop(BY_AGE, None)
    if not cls.traits.trainable:
        start = {key: _default(cls.Config, key) for key in space}
        return Candidate(model, reason, (start,), {}, space)
    assert issubclass(cls.Config, SequenceConfig)
    space |= {f"train.{name}": one for name, one in spaces(TrainConfig).items()}
    length = next((one for one in LENGTHS if one >= facts.long_length), LENGTHS[-1])
    if length > LONG:  # half of it costs half, and may do
        space["model.max_length"] = Choice((length, length // 2))
    if facts.longest > length and {"all", "last"} <= set(cls.traits.windows):
        space["train.windows"] = Choice(("all", "last"))
    wanted = {**_regime(facts), "model.max_length": length}
    start = {key: wanted.get(key, _default(cls.Config, key)) for key in space}
    start = {key: value if value in space[key] else _default(cls.Config, key) for key, value in start.items()}
    fixed: dict[str, Value] = {} if "model.max_length" in space else {"model.max_length": length}
    width = max(value for value in _numbers(space.get("model.width")))
    tokens = batch_tokens(facts, width, memory)
    fixed["train.batch_tokens"] = tokens
    fixed["train.warmup_steps"] = min(WARMUP_MOST, max(WARMUP_LEAST, facts.events // tokens))
    starts = [start]
    for key, worth in _worth(facts, cls).items():
        space[key] = Choice((start.setdefault(key, _default(cls.Config, key)), worth))
        starts.append({**start, key: worth})
    return Candidate(model, reason, tuple(starts), fixed, space)


def _numbers(space: Space | None) -> list[int]:
    return [value for value in space.values if isinstance(value, int)] if isinstance(space, Choice) else [64]


def _default(config: type[ModelConfig], key: str) -> Value:
    group, _, name = key.partition(".")
    owner = TrainConfig if group == "train" else config
    default: Value = "all" if name == "windows" else owner.model_fields[name].default
    return default


def _regime(facts: Facts) -> dict[str, Value]:
    """Starting values by the length of histories: the recipes that did best on public files of that kind."""
    if facts.median_length >= LONG:  # films: recipes/papers/ml-1m-esasrec.toml
        wide = facts.events >= 500_000
        return {
            "model.width": 128 if wide else 64,
            "model.heads": 2,
            "model.feed_forward": 2,
            "model.dropout": 0.2,
            "train.learning_rate": 2e-3,
            "train.windows": "last" if wide else "all",
        }
    if facts.seen == "include":  # sessions: recipes/papers/yoochoose-esasrec.toml
        return {"model.width": 64, "model.dropout": 0.3, "train.learning_rate": 4e-3}
    # sparse shops: recipes/papers/amazon-esasrec.toml
    return {"model.width": 64, "model.dropout": 0.5, "train.learning_rate": 4e-3}


def _worth(facts: Facts, cls: type[Recommender]) -> dict[str, Value]:
    """Settings that are off by default, and that this data makes worth a trial of their own."""
    found: dict[str, Value] = {}
    if cls.name == "esasrec" and any(facts.features[owner] for owner in ("events", "items")):
        found["model.features"] = "all"
    if cls.name in ("esasrec", "sasrec") and facts.seen == "include" and facts.repeat_share > 0.2:
        found["model.repeat"] = True
    return found


def batch_tokens(facts: Facts, width: int, memory: int | None) -> int:
    """Events a batch: by the size of the log, halved until its activations fit into a tenth of the memory.

    The best recipes have 1,024 on logs of some 200,000 events and 2,048 on a million; a step must also remain one of
    some hundred an epoch.
    """
    tokens = 1024 if facts.events < 400_000 else 2048 if facts.events < 5_000_000 else 4096
    held = 4 * 60 * width  # bytes an event: some 60 vectors of the width in two blocks, forward and backward
    while memory is not None and tokens > 64 and tokens * held > MEMORY_SHARE * memory:
        tokens //= 2
    return tokens


def choose(names: Sequence[str], facts: Facts, budget: float, memory: int | None) -> list[Candidate]:
    """The candidates of these names, in their order. Raises ConfigError for an unknown one, or one named twice."""
    if len(set(names)) < len(names):
        raise ConfigError(f"models {', '.join(names)}: one is named twice", "name each model once")
    known = {one.model: one for one in [*static_candidates(facts, budget), *trained_candidates(facts, memory)]}
    return [known.get(name) or candidate(name, facts, "asked for", memory) for name in names]
