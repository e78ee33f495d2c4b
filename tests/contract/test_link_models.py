"""What every trainable model must keep when it reads links between users, beside what it keeps without."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
import torch
from last_events import requests

from onward.config import TrainConfig
from onward.data.sequences import Histories
from onward.models.base import build, make_items
from onward.models.features.source import LINKS, Offered, Source
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.testing.small_models import close
from onward.train.display import Display
from onward.train.features import fit_features
from onward.train.loop import train_model

TRAINABLE = [name for name in MODELS if model_class(name).traits.trainable]
SMALL = {"width": 16, "max_length": 6, "dropout": 0.1, "features": ["links"]}
USERS, ITEMS, LONELY = 30, 17, 4
"""The first users have no friends."""


@cache
def source() -> Source:
    """Histories of up to 9 events at times that interleave; up to three friends each."""
    random = np.random.default_rng(0)
    lengths = np.concatenate([[0], random.integers(2, 10, USERS - 1)])
    end = np.cumsum(lengths)
    columns = {
        "item": random.integers(1, ITEMS + 1, end[-1]).astype(np.int32),
        "time": 10**15 + np.concatenate([np.sort(random.integers(0, 400, length)) for length in lengths]) * 10**10,
    }
    pairs = [(u, f) for u in range(LONELY, USERS) for f in random.permutation(USERS)[:3].tolist() if u != f]
    links = pl.DataFrame(pairs, schema=["user", "friend"], orient="row").with_columns(weight=pl.lit(1.0)).sort("user")
    items = pl.DataFrame({"item": [f"i{number}" for number in range(ITEMS)]})
    offered = [Offered("users", LINKS, LINKS, LINKS)]
    histories = Histories(columns, end - lengths, end, ITEMS)
    return Source(histories, items, pl.DataFrame({"user": range(USERS)}), offered, lambda _: pl.Series(), links)


@cache
def learned(name: str) -> tuple[SequenceModel, Histories]:
    """A model trained on all but the last event of each user, told when targets came; and all histories."""
    data = source()
    end = np.maximum(data.histories.start, data.histories.end - 1)
    training = replace(data.histories, end=end)
    torch.manual_seed(1)
    model = build(model_class(name), SMALL, make_items(training, np.arange(ITEMS + 1, dtype=np.int32)))
    assert isinstance(model, SequenceModel)
    columns, _, histories = fit_features(data, training, model.config, "target")
    model.use_features(columns, data.items)
    assert histories.friends is not None
    training = replace(histories, end=end, friends=histories.friends.until(end))
    config = TrainConfig(epochs=2, batch_tokens=64, learning_rate=0.02, warmup_steps=2)
    with TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        train_model(model, training, None, config, 3, Path(folder), Display("", shown=False), request_time="target")
    return model, histories


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_batch_answers_as_single_requests_do(name: str) -> None:
    model, histories = learned(name)
    _, asked = requests(histories)
    together = model.score(asked)
    close(together, torch.cat([model.score(asked.select(slice(row, row + 1))) for row in range(len(asked))]))


@pytest.mark.parametrize("name", TRAINABLE)
def test_friends_count_and_who_has_none_is_left_as_he_is(name: str) -> None:
    model, histories = learned(name)
    part, asked = requests(histories)
    with_friends, without = model.score(asked), model.score(replace(asked, friends=None))
    lonely = torch.from_numpy(part.user < LONELY)
    assert torch.equal(with_friends[lonely], without[lonely])
    moved = (with_friends != without)[:, 1:].any(1)
    assert moved[~lonely].float().mean() > 0.8


@pytest.mark.parametrize("name", TRAINABLE)
def test_what_a_friend_does_at_the_request_or_later_changes_nothing(name: str) -> None:
    model, histories = learned(name)
    part, asked = requests(histories)
    before, time = model.score(asked), histories.columns["time"]
    earlier_counts = False
    for row in np.flatnonzero(part.user >= LONELY).tolist():
        at = int(time[part.target_start[row]])
        own = np.zeros(len(time), dtype=bool)
        own[part.history_start[row] : part.target_end[row]] = True

        def changed(which: np.ndarray, row: int = row) -> torch.Tensor:
            item = histories.columns["item"].copy()
            item[which] = item[which] % ITEMS + 1
            other = replace(histories, columns={**histories.columns, "item": item})
            return model.score(part.requests(other).select(slice(row, row + 1)))[0]

        alone = model.score(asked.select(slice(row, row + 1)))[0]
        assert torch.equal(changed((time >= at) & ~own), alone)
        earlier_counts |= not torch.equal(changed((time < at) & ~own), alone)
        close(alone, before[row])
    assert earlier_counts


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_empty_history_is_answered_by_friends(name: str) -> None:
    model, histories = learned(name)
    nobody = replace(histories, end=histories.start, at=np.full(USERS, 2 * 10**15))
    lists = model.recommend(nobody, 3)
    assert not lists.fallback.any()
    assert len({tuple(row) for row in lists.scores[:LONELY].tolist()}) == 1
    assert len({tuple(row) for row in lists.scores[LONELY:].tolist()}) > USERS / 2
