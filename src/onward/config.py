"""Settings of one run: frozen, complete, strict. TOML in, resolved TOML out.

`Config` is the base of every settings class, each model's own among them. Unknown keys are errors.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onward.errors import ConfigError, unknown
from onward.space import Range

Protocol = Literal["last", "time", "users", "all"]
RequestTime = Literal["none", "target"]
Windows = Literal["last", "all", "prefix"]
Transform = Literal["crop", "mask", "reorder", "drop", "insert", "substitute"]


class Config(BaseModel):
    """Base of all settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Build from plain values. Raises ConfigError that names the key, its value and the choices."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(error, cls, where)) from None


def _explain(error: ValidationError, cls: type[BaseModel], where: str) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        key = ".".join(([where] if where else []) + path)
        if problem["type"] == "extra_forbidden":
            lines.append(f"{_unknown(path[-1], _owner(cls, path[:-1]))} (at {key})")
        elif problem["type"] == "tuple_type":
            lines.append(f"{key} = {problem['input']!r}: input should be a list: {key}={_as_list(problem['input'])}")
        else:
            lines.append(f"{key} = {problem['input']!r}: {problem['msg'].lower()}")
    return "; ".join(lines)


def _unknown(name: str, owner: type[BaseModel]) -> str:
    """That there is no such setting; where it is one of a group inside, that it is written with the group."""
    groups = [group for group in owner.model_fields if group != "model" and name in _owner(owner, [group]).model_fields]
    if groups:
        return f"unknown setting '{name}'; did you mean '{groups[0]}.{name}'?"
    said = unknown("setting", name, owner.model_fields)
    return f"{said}; those of a model are written model.NAME" if "model" in owner.model_fields else said


def _as_list(given: object) -> str:
    """What was given for a list, as one: `crop,mask` becomes `["crop", "mask"]`."""
    parts = given.strip("[] ").split(",") if isinstance(given, str) else [given]
    return json.dumps([part.strip(" \"'") if isinstance(part, str) else part for part in parts])


def _owner(cls: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path:
        inner = cls.model_fields[part].annotation if part in cls.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            cls = inner
    return cls


class SplitConfig(Config):
    """How events are divided into training, validation and test (ARCHITECTURE.md, Evaluation)."""

    protocol: Protocol = "time"
    """`last`: each user's last two events; `time`: a cut in time; `users`: held-out users; `all`: no test."""
    valid_share: float = Field(0.1, gt=0, lt=0.5)
    """Share of the events (`time`) or users (`users`) that validate."""
    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Share of the events (`time`) or users (`users`) that test."""
    valid_from: int | None = None
    """`time` only: first instant of validation, microseconds UTC; found from the shares when absent."""
    test_from: int | None = None
    """`time` only: first instant of the test, microseconds UTC; found from the shares when absent."""
    last_share: float | None = Field(None, gt=0, lt=1)
    """`last` only: instead of one event, this share of each user's events is the test, the newest, and the same share
    of those before them the validation."""
    seed: int = Field(0, ge=0)
    """Chooses the held-out users of `users`."""
    known_events: int | None = Field(None, ge=1)
    """`users` only: so many events of a held-out user are known, the oldest, and all the others are the targets, as one
    set. Absent: every event after the first is a target of its own."""
    refit: bool = False
    """Train on training + validation; the test part stays the same."""
    target_action: str | None = None
    """Only events of this action are targets, in training, validation and test; histories keep all. Absent: any."""
    request_time: RequestTime | None = None
    """What a model is told about when its answer is wanted: `none`, or the time of the `target`, as serving tells it
    what time it is. Where absent: `none` under `last` and for data without times, else `target`."""


class TrainConfig(Config):
    """What the training loop does. Used by trainable models only."""

    epochs: int = Field(30, ge=1)
    """Passes over the training sequences, at most."""
    stop_after: float | None = Field(None, gt=0)
    """Epochs after which training ends, while the step size decays as for all `epochs`; absent: it runs on. A training
    that was ended from outside (`onward auto`) says here where, so that the same settings train it again."""
    batch_tokens: int = Field(2048, ge=16)
    """Real positions a batch holds, about: long histories make small batches, short ones large."""
    windows: Windows | None = None
    """How a history trains: `last`, its newest `max_length` events; `all`, all of it, cut into windows of that length;
    `prefix`, every event as the only target of a row of its own. By default `all`, or what the model needs."""
    action_weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Action -> what the loss of a target of it is multiplied by; 1 for actions that aren't named."""
    augment: tuple[Transform, ...] = ()
    """Changes made to training rows, each row by one of them at random; with model.contrastive, to second views."""
    augment_rows: float = Field(0.5, gt=0, le=1)
    """Share of the rows that are changed."""
    augment_strength: float = Field(0.2, gt=0, lt=1)
    """Share of a changed row's events that are cut away, masked, moved, left out, added to or substituted."""
    optimiser: Literal["adamw", "adagrad"] = "adamw"
    """Of the layers, and of item tables unless `item_optimiser` says otherwise."""
    item_optimiser: Literal["auto", "same", "adagrad"] = "auto"
    """`adagrad`: row-wise Adagrad for item tables; `same`: that of the layers. `auto`: row-wise where the loss samples
    negatives, as a step then costs what its batch touches, and in RNN, LSTM, GRU and BERT4Rec, which learn sooner."""
    learning_rate: Annotated[float, Range(5e-4, 1e-2, log=True)] = Field(2e-3, gt=0)
    """Peak step size."""
    item_learning_rate: float = Field(0.1, gt=0)
    """Peak step size of item tables under row-wise Adagrad."""
    schedule: Literal["constant", "cosine", "linear", "plateau", "wsd"] = "cosine"
    """Decay after warm-up; `plateau` divides by 4 when validation stops improving; `wsd` (warm-up, stable, decay) stays
    at the peak up to `decay_from`."""
    decay_from: float | None = Field(None, gt=0)
    """`wsd` only: epochs after which the step size falls, to zero at the end of `epochs`; absent: 0.75 of them."""
    warmup_steps: int = Field(100, ge=0)
    """Steps of linear warm-up from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of AdamW, on matrices only (never on biases, gains and embeddings)."""
    clip_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this global norm."""
    patience: int = Field(10, ge=1)
    """Validations without improvement before stopping."""
    validate_every: float = Field(1.0, gt=0)
    """Epochs between validations."""
    monitor: str = "ndcg@10"
    """Metric on the validation part that picks the best checkpoint; `-mse` style names are minimised."""
    unseen_cost: float = Field(0.05, ge=0, lt=1)
    """With features of items: share of validation NDCG@10 that items with training events may lose, so that items
    without any come among the best; 0 leaves all scores as they were learned."""
    unseen_shift: float | None = None
    """What the scores of items without a training event are raised by; absent: fitted, so that it costs that much."""
    unseen_likeness: float = Field(0.5, ge=0)
    """With features of items: how far the likeness of an item without training events to those of the history spreads
    the scores of such items, in spreads of the model's own scores of them. They also take over what the ids of trained
    items that look like them have learned. 0 does neither."""
    unseen_recency: float = Field(2.0, ge=0)
    """Events of a history after which one counts half in that likeness; 0: all count the same."""
    unseen_weight: float | None = Field(None, ge=0)
    """What the cosine of that likeness is multiplied by; absent: fitted, so that it spreads scores so far."""


class FineTuneConfig(Config):
    """How a model goes on learning from new events; all that isn't said here is as in its own training."""

    budget: float = Field(0.12, gt=0)
    """Input steps of all passes, as a share of those of a training from nothing on all events: as many passes over the
    new and the replayed events as fit, one at least."""
    epochs: int | None = Field(None, ge=1)
    """Passes, whatever they cost; absent: as many as `budget` allows, `most_epochs` at most."""
    most_epochs: int = Field(4, ge=1)
    """Passes that `budget` buys at most: what these leave of it is spent on replaying more old events instead."""
    context: int = Field(16, ge=1)
    """Older steps that are read before a user's first new one; of a replayed user all are."""
    batch_share: float = Field(0.25, gt=0)
    """Positions of a batch, as a share of those of the model's own training."""
    learning_rate_share: float = Field(0.5, gt=0)
    """Peak step size, as a share of that of the model's own training."""
    replay: float = Field(1.0, ge=0)
    """Old events that are trained on again for each new one, about, and more where `most_epochs` leaves budget: whole
    histories of users drawn at random."""


class FineTuned(FineTuneConfig):
    """What a model went on from, and how."""

    parent: str
    """SHA-256 of the weights that it went on from."""
    since: int
    """First instant of what those hadn't learned from, microseconds UTC."""


class RunConfig(Config):
    """Everything that determines one run's result."""

    format: Literal["onward.run/1"] = "onward.run/1"
    """Format and version of this file."""
    seed: int = Field(0, ge=0)
    """Of initial weights, order of batches and dropout."""
    dataset: str = ""
    """Content hash of the dataset that was trained on."""
    dataset_path: str = ""
    """Where that dataset was; only a default for later commands, always checked by the hash."""
    split: SplitConfig = SplitConfig()
    """What was trained on, validated and tested."""
    train: TrainConfig = TrainConfig()
    """The training loop."""
    fine_tune: FineTuned | None = None
    """Of a model that went on from another one's weights (`onward update`); absent: trained from nothing."""
    track: tuple[str, ...] = ()
    """Trackers that are told what is logged, beside metrics.jsonl: `tensorboard`, `mlflow`, `wandb`, or one that an
    installed package offers. They decide nothing."""
    model: dict[str, Any] = {}
    """`name`, and the settings of that model's own Config, all of them once resolved."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError naming the file, and the place where it can't be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def dump_toml(config: Config) -> str:
    """The whole configuration as TOML; absent (None) values are left out."""
    import tomli_w

    return tomli_w.dumps(_present(config.model_dump(mode="json")))


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _present(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def apply_settings(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Overlay `key.path=value` settings on nested values; a value is TOML, or else plain text."""
    merged = _copy(values)
    for setting in settings:
        path, found, text = setting.partition("=")
        if not found or not path.strip():
            raise ConfigError(f"--set {setting!r} is not of the form key=value", "for example --set train.epochs=20")
        keys = path.strip().split(".")
        inner = merged
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {setting!r}: '{key}' is a value, not a group of settings")
        inner[keys[-1]] = parse_value(text.strip())
    return merged


def parse_value(text: str) -> Any:
    """A value as it is typed on a command line: TOML, or else plain text."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys: `{"train": {"epochs": 3}}` becomes `{"train.epochs": 3}`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}
