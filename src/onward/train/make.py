"""A model before its training: initial weights, and the events that it learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from onward.config import RunConfig
from onward.data.dataset import Dataset
from onward.data.sequences import Histories
from onward.data.split import Split, split
from onward.data.targets import with_action_weights
from onward.device import compute_device
from onward.models.base import Recommender, build, make_items
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.preferences import apply_threads, preferences
from onward.train.augmentation import check_augmentation
from onward.train.features import fit_features
from onward.train.optim import by_rows

GPU_CHUNK_ROWS = 8192
"""Rows of logits over the catalog that keep a GPU busy."""


@dataclass(frozen=True)
class Made:
    """What a training begins with.

    Attributes:
        histories: all events, as the model reads them.
        training: those that train it.
        said: what was decided about each column that is read beside item ids, in sentences.
    """

    model: Recommender
    histories: Histories
    training: Histories
    divided: Split
    said: list[str]


def make_model(data: Dataset, config: RunConfig) -> Made:
    """The model of a resolved configuration. Raises ConfigError for settings that contradict each other or the data."""
    divided = split(data.histories, config.split, data.manifest.actions)
    histories, said = data.histories, list[str]()
    training = training_events(histories, divided, data, config)
    settings = {key: value for key, value in config.model.items() if key != "name"}
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)  # initial weights
        catalog, kinds = data.catalog, data.manifest.item_features
        items = make_items(training, catalog.tie_rank, catalog.frame, kinds)
        model = build(model_class(str(config.model["name"])), settings, items)
        if isinstance(model, SequenceModel):
            columns, said, histories = fit_features(data, training, model.config, divided.config.request_time)
            model.use_features(columns, data.catalog.frame)
            training = training_events(histories, divided, data, config)
    if isinstance(model, SequenceModel):
        model.start_training(training, config.seed)
        check_augmentation(model, training, config.train)
        by_rows(model, config.train)
    return Made(model, histories, training, divided, said)


def place(model: SequenceModel) -> torch.device:
    """Move a model to where it trains, on this machine's device, and set what makes it fast there; gives the device."""
    device, machine = compute_device(), preferences()
    model.to(device)
    apply_threads(machine)
    model.chunk_rows = machine.chunk_rows if device.type == "cpu" else GPU_CHUNK_ROWS
    return device


def training_events(histories: Histories, divided: Split, data: Dataset, config: RunConfig) -> Histories:
    """The training events, and what they weigh."""
    return with_action_weights(divided.training(histories), data.manifest.actions, config.train.action_weights)
