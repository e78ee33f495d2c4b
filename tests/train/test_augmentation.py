"""What a training is augmented with, what is refused, and that it changes what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.data.synthetic import chain_events
from onward.models.base import Items
from onward.train.augmentation import SIMILAR, similar_items
from onward.train.run import train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    prepare(chain_events(users=40, items=12, length=8, noise=0.1, seed=0), folder / "dataset")
    return folder / "dataset"


def test_similar_items_are_those_that_the_same_users_had() -> None:
    training = Histories.from_lists([[1, 2, 5]] * 8 + [[3, 4]] * 5 + [[1, 2]] * 3 + [[6]], 7)
    similar = similar_items(training, Items(training.item_counts(), np.arange(8, dtype=np.int32)))
    assert similar.shape == (8, SIMILAR)
    assert similar[[1, 2], :3].tolist() == [[2, 5, 0], [1, 5, 0]]
    assert sorted(similar[5].tolist()) == [0, 0, 0, 1, 2]
    assert similar[[3, 4], :2].tolist() == [[4, 0], [3, 0]]
    assert (similar[[0, 6, 7]] == 0).all()


def test_each_way_of_augmenting_learns_something_else(dataset: Path, tmp_path: Path) -> None:
    ways: dict[str, list[str]] = {
        "plain": [],
        "crop": ["train.augment=['crop']"],
        "similar": ["train.augment=['insert', 'substitute']"],
        "dropout": ["model.contrastive=0.1"],
        "views": ["model.contrastive=0.1", "train.augment=['crop']"],
    }
    weights = set()
    for name, settings in ways.items():
        common = ["train.epochs=1", "model.width=8", *settings]
        done = train(dataset, "sasrec", tmp_path / name, protocol="last", settings=common, progress=False)
        weights.add((done.folder / "model" / "weights.safetensors").read_bytes())
    assert len(weights) == len(ways)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "bert4rec", "--set", "train.augment=['crop']"], "hides events itself"),
        (["-m", "gru", "--set", "train.augment=['shuffle']"], "train.augment.0 = 'shuffle'"),
        (["-m", "bert4rec", "--set", "model.contrastive=0.1"], "model.contrastive"),
        (["-m", "bsarec", "--set", "train.windows=all"], "choose 'prefix'"),
    ],
)
def test_what_can_not_be_done_is_said(arguments: list[str], said: str, dataset: Path, tmp_path: Path, capsys) -> None:
    assert main(["train", str(dataset), "-o", str(tmp_path / "run"), "--protocol", "last", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["train.augment=['crop']", "model.contrastive=0.1"])
def test_groups_are_not_augmented(setting: str, tmp_path: Path, capsys) -> None:
    events = chain_events(users=20, items=6, length=8)
    events = events.with_columns(basket=np.arange(len(events)) // 2)
    prepare(events, tmp_path / "baskets", group="basket")
    arguments = ["train", str(tmp_path / "baskets"), "-m", "gru", "-o", str(tmp_path / "run"), "--protocol", "last"]
    assert main([*arguments, "--set", setting]) == 2
    assert "groups" in capsys.readouterr().err
