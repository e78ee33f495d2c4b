"""Friends share a taste that a user's own events don't tell: it is learned from links, and from no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.config import SplitConfig
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.errors import ConfigError
from onward.evaluate.protocol import evaluate
from onward.train.run import train

TASTES, OF_TASTE, USERS = 4, 10, 160
KNOWN = 2
"""Events of a held-out user that are known: of items that everybody has."""


def _log() -> pl.DataFrame:
    """Each user begins with two items that everybody may have, and goes on with eight of one taste's ten."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        own = random.permutation(OF_TASTE)[:8] + OF_TASTE * (user % TASTES)
        items = [f"all{n}" for n in random.permutation(5)[:KNOWN]] + [f"of{n}" for n in own]
        rows += [(f"u{user:03}", item) for item in items]
    return pl.DataFrame(rows, schema=["user", "item"], orient="row")


def _links(by_taste: bool) -> pl.DataFrame:
    """Six friends each, of the same taste or of any."""
    random = np.random.default_rng(1)
    rows = []
    for user in range(USERS):
        others = [other for other in range(USERS) if other != user and (not by_taste or (other - user) % TASTES == 0)]
        rows += [(f"u{user:03}", f"u{friend:03}") for friend in random.permutation(others)[:6]]
    return pl.DataFrame(rows, schema=["user", "friend"], orient="row")


def _recall(dataset: Dataset, run: Path, features: str) -> float:
    settings = [
        f"model.features={features}",
        f"split.known_events={KNOWN}",
        "split.test_share=0.2",
        "model.width=16",
        "train.epochs=25",
        "train.learning_rate=0.01",
        "train.batch_tokens=256",
    ]
    train(dataset, "gru", run, protocol="users", settings=settings, progress=False)
    return evaluate(run, dataset.path).metrics["recall@10"].value


@pytest.fixture(scope="module")
def social(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(_log(), tmp_path_factory.mktemp("social") / "data", links=_links(by_taste=True))


def test_a_taste_that_friends_share_is_learned_from_links(social: Dataset, tmp_path: Path) -> None:
    # ten of forty items are of the right taste, and eight of them are wanted
    assert _recall(social, tmp_path / "links", '["links"]') > 0.9
    assert _recall(social, tmp_path / "without", "none") < 0.4
    links = load_bundle(tmp_path / "links")
    assert links.manifest.holds_user_rows
    assert links.links is not None
    assert links.links.columns == ["user", "friend", "weight"]
    assert set(links.links.filter(pl.col("user") == "u000")["friend"]) == set(
        _links(by_taste=True).filter(pl.col("user") == "u000")["friend"]
    )
    without = load_bundle(tmp_path / "without")
    assert without.links is None
    assert not without.manifest.holds_user_rows


def test_friends_drawn_by_chance_tell_nothing(tmp_path: Path) -> None:
    rewired = prepare(_log(), tmp_path / "data", links=_links(by_taste=False))
    assert _recall(rewired, tmp_path / "run", '["links"]') < 0.4


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('train.augment=["crop"]', "the model reads features of events or of users"),
        ("model.contrastive=0.1", "model.contrastive compares what histories say, and here states also say who asks"),
    ],
)
def test_what_does_not_go_with_links_is_refused(social: Dataset, tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train(social, "gru", tmp_path / "run", protocol="last", settings=['model.features=["links"]', setting])


def test_links_must_be_there_and_lead_to_somebody_who_trains(tmp_path: Path) -> None:
    without = prepare(_log(), tmp_path / "without")
    with pytest.raises(ConfigError, match="unknown feature 'links'"):
        train(without, "gru", tmp_path / "run", protocol="last", settings=['model.features=["links"]'])
    one = prepare(_log(), tmp_path / "one", links=pl.DataFrame({"user": ["u000"], "friend": ["u001"]}))
    histories = one.histories

    def holds_out_the_friend(seed: int) -> bool:
        config = SplitConfig(protocol="users", test_share=0.2, known_events=KNOWN, seed=seed)
        return int(split(histories, config).train_end[1]) == int(histories.start[1])

    seed = next(seed for seed in range(50) if holds_out_the_friend(seed))
    settings = ['model.features=["links"]', "split.test_share=0.2", f"split.known_events={KNOWN}", f"split.seed={seed}"]
    with pytest.raises(ConfigError, match="links: left out, no user of the training part has a friend with a training"):
        train(one, "gru", tmp_path / "run", protocol="users", settings=settings)
