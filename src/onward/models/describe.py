"""What each model is, and its settings, read from the classes themselves."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, Literal

from onward.config import SplitConfig, TrainConfig
from onward.models.cost import Cost, default_cost
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.payload import Payload
from onward.space import spaces

_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


class Setting(Payload):
    """One setting."""

    name: str
    """Its name: of a model's own after `model.`, of the others in full."""
    type: str
    """integer, number, boolean, string, choice...; `or absent` where it may be left out."""
    default: Any
    """Its value when none is given; null for absent."""
    values: str
    """Bounds or choices; empty when there are none."""
    about: str
    """What it does."""
    searched: str = ""
    """Values that `onward tune` tries; empty where it leaves the setting alone."""


class ModelEntry(Payload):
    """One model."""

    name: str
    """What it is called."""
    kind: Literal["sequence", "static"]
    """`sequence` models are trained by the loop, `static` ones fitted in one call."""
    about: str
    """One line about it."""
    paper: str | None
    """Address of its paper."""
    ordered: bool
    """Whether the order of a history matters."""
    trainable: bool
    """Whether the training loop trains it."""
    causal: bool
    """Whether later events can't change an earlier state."""
    holds_user_rows: bool
    """Whether its weights hold rows of training users."""
    max_items: int | None
    """Largest catalog that it takes; null for any."""
    timed: bool
    """Whether the times of events count."""
    cost: Cost | None
    """What it costs at its default settings; null for a static model."""
    windows: list[str]
    """How histories may be cut to train it (train.windows), the default first; empty for a static model."""
    settings: list[Setting]
    """Its settings."""


class ModelList(Payload):
    """What `onward models --json` prints, of all models or of one."""

    format: Literal["onward.models/1"] = "onward.models/1"
    """Format and version."""
    models: list[ModelEntry]
    """The models."""
    run: list[Setting]
    """What else `--set` takes, for every model alike: how events are divided and how the loop trains."""


def describe_models() -> list[ModelEntry]:
    """One entry a model, in the registry's order (see `describe_model`)."""
    return [describe_model(name) for name in MODELS]


def describe_model(name: str) -> ModelEntry:
    """Name, kind, one line about it, paper, traits and settings. Raises ConfigError for an unknown model."""
    cls = model_class(name)
    # a class that shares its file with another cites its own paper
    sources = f"{inspect.getdoc(cls)}\n{inspect.getdoc(sys.modules[cls.__module__])}"
    traits = cls.traits
    return ModelEntry(
        name=name,
        kind="sequence" if traits.trainable else "static",
        about=(inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " "),
        paper=_paper(sources),
        ordered=traits.ordered,
        trainable=traits.trainable,
        causal=traits.causal,
        holds_user_rows=traits.holds_user_rows,
        max_items=traits.max_items,
        timed=traits.timed,
        cost=default_cost(cls) if issubclass(cls, SequenceModel) else None,
        windows=list(traits.windows) if traits.trainable else [],
        settings=describe_settings(cls.Config),
    )


def describe_run() -> list[Setting]:
    """Settings of the split and of the training loop, under the names that `--set` takes."""
    groups = {"split": SplitConfig, "train": TrainConfig}
    return [
        one.model_copy(update={"name": f"{group}.{one.name}"})
        for group, config in groups.items()
        for one in describe_settings(config)
    ]


def _paper(text: str) -> str | None:
    """Address of the first paper that a docstring cites."""
    cited = re.search(r"https?://[^\s)>,]+|arXiv:(\d{4}\.\d{4,5})", text)
    if cited is None:
        return None
    return f"https://arxiv.org/abs/{cited[1]}" if cited[1] else cited[0].rstrip(".")


def describe_settings(config: type[Any]) -> list[Setting]:
    """Each setting of a Config: name, type, default, what values it takes, and what it does."""
    properties: dict[str, dict[str, Any]] = config.model_json_schema().get("properties", {})
    searched = spaces(config)
    return [
        Setting(
            name=name,
            type=_type(schema),
            default=schema.get("default"),
            values=_values(schema),
            about=schema.get("description", "").replace("\n", " "),
            searched=str(searched.get(name, "")),
        )
        for name, schema in properties.items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join("absent" if one.get("type") == "null" else _type(one) for one in schema["anyOf"])
    return "choice" if "enum" in schema or "const" in schema else str(schema.get("type", "any"))


def _values(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(text for one in schema["anyOf"] if (text := _values(one)))
    if "items" in schema and (inner := _values(schema["items"])):
        return f"list of {inner}"
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    return ", ".join(text.format(f"{schema[key]:g}") for key, text in _BOUNDS.items() if key in schema)
