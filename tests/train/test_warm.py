"""A model goes on with a log that has grown: old items keep what was learned of them, whatever their index is now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from onward.bundle import export, load_bundle, read_sums
from onward.config import FineTuneConfig, SplitConfig
from onward.data.catalog import Catalog
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.data.split import Split, split
from onward.data.synthetic import chain_events
from onward.errors import ConfigError
from onward.models.base import build, make_items
from onward.models.features.category_column import CategoryColumn
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.train import loop
from onward.train.features import fit_features
from onward.train.go_on import go_on
from onward.train.run import train
from onward.train.warm import WarmStart, item_axes, warm_start

TRAINABLE = [name for name in MODELS if model_class(name).traits.trainable]
SMALL = {"width": 16, "max_length": 10, "dropout": 0.1}
CASES = [(name, {}) for name in TRAINABLE] + [
    ("gru", {"input": "onehot", "output": "separate"}),
    ("sasrec", {"output": "separate", "loss": "sampled_softmax", "negatives": 8}),
    ("gru", {"repeat": True}),
    ("lstm", {"interest": "bce", "interest_of": "events"}),
]
ALL = SplitConfig(protocol="all")
ITEMS, NEW = 12, ("a new one", "c05b", "z")
"""Items of the first log, and those that came since: in byte order before, among and after them."""


def first_log() -> pl.DataFrame:
    frame = chain_events(users=30, items=ITEMS, length=8, noise=0.2)
    return frame.with_columns(item=pl.format("c{}", pl.col("item").cast(pl.String).str.zfill(2)))


def later_log() -> pl.DataFrame:
    """The same and more: `a new one` comes after c03 and before c04, `z` has no old item beside it; new users too."""
    old = first_log()
    now = int(old["time"].max()) + 1000  # type: ignore[arg-type]
    rows = [(user, item, now + 10 * place) for user in (0, 1, 40) for place, item in enumerate(["c03", NEW[0], "c04"])]
    rows += [(41, "z", now + place) for place in range(3)] + [(42, "c01", now), (42, NEW[1], now + 1)]
    return pl.concat([old, pl.DataFrame(rows, old.schema, orient="row")])


def cut_of_first() -> int:
    """The first instant after the first log, microseconds."""
    return int(first_log()["time"].max()) * 1_000_000 + 1  # type: ignore[arg-type]


def item_table() -> pl.DataFrame:
    """Colours of items; those of the new ones are new."""
    ids = [f"c{number:02}" for number in range(ITEMS)]
    frame = pl.DataFrame({"item": ids, "color": [f"color {number % 4}" for number in range(ITEMS)]})
    return pl.concat([frame, pl.DataFrame({"item": NEW, "color": ["blue", "color 1", "blue"]})])


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("logs")
    item_table().write_csv(folder / "items.csv")
    made = [
        prepare(frame, folder / name, items=folder / "items.csv")
        for name, frame in (("first", first_log()), ("later", later_log()))
    ]
    return made[0], made[1]


def all_of(data: Dataset) -> Split:
    return split(data.histories, ALL)


def untrained(name: str, settings: dict[str, object], data: Dataset) -> SequenceModel:
    """A model with weights that are drawn: as good as learned ones, to see where they go."""
    torch.manual_seed(4)
    training = all_of(data).training(data.histories)
    model = build(model_class(name), {**SMALL, **settings}, make_items(training, data.catalog.tie_rank))
    assert isinstance(model, SequenceModel)
    columns, _, histories = fit_features(data, training, model.config, "none")
    model.use_features(columns, data.catalog.frame)
    model.start_training(all_of(data).training(histories), 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def asked(catalog: Catalog) -> Histories:
    """Histories of old items, in the indices of a catalog."""
    wanted = [["c03"], ["c01", "c02", "c11"], ["c07", "c07", "c00", "c09"]]
    return Histories.from_lists([catalog.index(one).tolist() for one in wanted], len(catalog))


def check_same_scores(old: SequenceModel, first: Dataset, warm: WarmStart, later: Dataset) -> None:
    """Old items score as they did after histories of old items."""
    ids = [f"c{number:02}" for number in range(ITEMS)]
    before = old.score(asked(first.catalog))[:, first.catalog.index(ids)]
    after = warm.model.score(asked(later.catalog))[:, later.catalog.index(ids)]
    if warm.model.repeat is not None:  # probabilities: new items have a share of those that aren't repeated
        explored = [4, 5, 6, 8, 10]
        before, after = before[:, explored].softmax(1), after[:, explored].softmax(1)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_old_items_score_as_before_whatever_their_index(
    name: str, settings: dict[str, object], logs: tuple[Dataset, Dataset]
) -> None:
    first, later = logs
    old = untrained(name, settings, first)
    warm = warm_start(old, first.catalog, later, all_of(later))
    assert later.catalog.index_of("c05") != first.catalog.index_of("c05")
    assert (warm.old_items, warm.new_items) == (ITEMS, len(NEW))
    check_same_scores(old, first, warm, later)
    assert warm.model.score(asked(later.catalog))[:, 1:].isfinite().all()


@pytest.mark.parametrize(("name", "settings"), [("sasrec", {}), ("gru", {"input": "onehot", "output": "separate"})])
def test_a_new_item_begins_as_its_neighbours_or_as_the_mean(
    name: str, settings: dict[str, object], logs: tuple[Dataset, Dataset]
) -> None:
    first, later = logs
    old = untrained(name, settings, first)
    model = warm_start(old, first.catalog, later, all_of(later)).model
    before, after = dict(old.named_parameters()), dict(model.named_parameters())
    for key, axes in item_axes(type(old), old.config).items():
        for axis in axes:
            had, has = before[key].movedim(axis, 0), after[key].movedim(axis, 0)
            place, now = first.catalog.index_of, later.catalog.index_of
            torch.testing.assert_close(has[now("c08")], had[place("c08")], rtol=0, atol=0)
            torch.testing.assert_close(has[now(NEW[0])], (had[place("c03")] + had[place("c04")]) / 2)
            torch.testing.assert_close(has[now(NEW[1])], had[place("c01")])
            torch.testing.assert_close(has[now("z")], had[1:].mean(0))
    found = {key for key, axes in item_axes(type(old), old.config).items() if axes}
    onehot = {"output.weight", "output_bias", "recurrent.weight_ih_l0"}
    assert found == (onehot if settings else {"input.weight", "output_bias"})


@pytest.mark.parametrize("settings", [{}, {"output": "separate"}])
def test_features_go_on_and_new_values_say_nothing_yet(
    settings: dict[str, object], logs: tuple[Dataset, Dataset]
) -> None:
    first, later = logs
    old = untrained("sasrec", {"features": "all", **settings}, first)
    warm = warm_start(old, first.catalog, later, all_of(later))
    check_same_scores(old, first, warm, later)
    assert old.features is not None
    assert warm.model.features is not None
    pairs = zip(old.features.columns, warm.model.features.columns, strict=True)
    grown = [(one, other) for one, other in pairs if isinstance(one, CategoryColumn)]
    assert [other.vocabulary[len(one.vocabulary) :] for one, other in grown if one.name == "color"] == [["blue"]]
    # an item known by its features alone: the id row that says nothing, and its colour
    model = warm.model
    assert model.featured is not None
    assert old.featured is not None
    table, _ = model.output_table()
    row = later.catalog.frame.filter(pl.col("item") == NEW[1])
    torch.testing.assert_close(table[later.catalog.index_of(NEW[1])], old.featured.items_of(row)[0][0])


def test_what_raised_unseen_items_is_taken_back(logs: tuple[Dataset, Dataset]) -> None:
    first, later = logs
    old = untrained("gru", {"features": "all"}, first)
    plain = warm_start(old, first.catalog, later, all_of(later)).model
    assert old.featured is not None
    old.featured.raise_unseen(2.5)
    again = warm_start(old, first.catalog, later, all_of(later), unseen_shift=2.5).model
    torch.testing.assert_close(again.output_bias, plain.output_bias)


def test_an_item_of_the_catalog_that_was_never_trained_is_new(logs: tuple[Dataset, Dataset]) -> None:
    _, later = logs
    now = cut_of_first()
    config = SplitConfig(protocol="time", valid_from=now, test_from=now + 1_005_000_000)
    before = split(later.histories, config)
    torch.manual_seed(4)
    training = before.training(later.histories)
    old = build(model_class("gru"), SMALL, make_items(training, later.catalog.tie_rank))
    assert isinstance(old, SequenceModel)
    warm = warm_start(old, later.catalog, later, all_of(later))
    assert (warm.old_items, warm.new_items) == (ITEMS, len(NEW))
    place = later.catalog.index_of
    table, was = dict(warm.model.named_parameters())["input.weight"], dict(old.named_parameters())["input.weight"]
    torch.testing.assert_close(table[place(NEW[1])], was[place("c01")])
    assert not torch.equal(was[place(NEW[1])], was[place("c01")])


def test_a_log_of_other_items_is_refused(logs: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, _ = logs
    other = prepare(chain_events(users=30, items=8, length=8), tmp_path / "other")
    with pytest.raises(ConfigError, match="knows none of the data set's 8 items"):
        warm_start(untrained("gru", {}, first), first.catalog, other, all_of(other))


# fine-tuning


@pytest.mark.parametrize("model", ["sasrec", "markov"])
def test_what_is_new_is_learned(model: str, logs: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, later = logs
    small = [
        "model.width=16",
        "model.dropout=0.0",
        "train.epochs=2",
        "train.learning_rate=0.01",
        "train.warmup_steps=5",
    ]
    train(first, model, tmp_path / "first", protocol="all", settings=small * (model == "sasrec"), progress=False)
    old = load_bundle(tmp_path / "first")
    tuning = FineTuneConfig(epochs=30, learning_rate_share=1.0)
    done = go_on(old, later, tmp_path / "next", cut_of_first(), tuning, progress=False)
    new = load_bundle(done.folder)
    assert new.manifest.parent == old.manifest.files["weights.safetensors"]
    assert new.manifest.data.events == later.manifest.events
    assert new.manifest.training["best_epoch"] == old.manifest.training["best_epoch"]
    request = Histories.from_lists([[new.catalog.index_of("c03")]], len(new.catalog))
    chance = new.model.score(request)[0]
    assert NEW[0] in [new.catalog.id(int(place)) for place in chance.topk(2).indices]


def test_broken_off_and_gone_on_with_it_learns_the_same_bits(
    logs: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = logs
    small = ["model.width=16", "train.epochs=1", "train.batch_tokens=64"]
    train(first, "sasrec", tmp_path / "first", protocol="all", settings=small, progress=False)
    old = load_bundle(tmp_path / "first")
    whole = load_bundle(go_on(old, later, tmp_path / "whole", cut_of_first(), progress=False).folder)
    save, saved = loop.save_checkpoint, []

    def save_and_break(*given: object) -> None:
        save(*given)  # type: ignore[arg-type]
        saved.append(given)
        if len(saved) == 2:
            raise RuntimeError("broken off")

    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)  # a checkpoint after every step
    monkeypatch.setattr(loop, "save_checkpoint", save_and_break)
    with pytest.raises(RuntimeError, match="broken off"):
        go_on(old, later, tmp_path / "broken", cut_of_first(), progress=False)
    monkeypatch.undo()
    done = go_on(old, later, tmp_path / "broken", cut_of_first(), resume=True, progress=False)
    assert load_bundle(done.folder).manifest.files["weights.safetensors"] == whole.manifest.files["weights.safetensors"]
    with pytest.raises(ConfigError, match="started with other settings: seed is 0 there, 7 here"):
        go_on(old, later, tmp_path / "broken", cut_of_first(), resume=True, seed=7, progress=False)


def test_adagrad_goes_on_from_its_sums(logs: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, later = logs
    settings = ["model.width=16", "model.loss=sampled_softmax", "model.negatives=8", "train.epochs=3"]
    train(first, "gru", tmp_path / "first", protocol="all", settings=settings, progress=False)
    old = load_bundle(export(tmp_path / "first", tmp_path / "model"))
    sums = read_sums(old)
    assert {name: len(tensor) for name, tensor in sums.items()} == {"input.weight": 13, "output_bias": 13}
    assert isinstance(old.model, SequenceModel)
    warm = warm_start(old.model, old.catalog, later, all_of(later), sums=sums)
    for name, before in sums.items():
        after = warm.sums[name]
        assert after[later.catalog.index_of("c07")] == before[first.catalog.index_of("c07")] > 0
        assert after[later.catalog.index_of("z")] == 0
    # a step so small that nothing moves: the sums that come out are those that went in, and more
    tiny = FineTuneConfig(epochs=1, learning_rate_share=1e-9)
    new = load_bundle(go_on(old, later, tmp_path / "next", cut_of_first(), tiny, progress=False).folder)
    for name, before in warm.sums.items():
        assert (read_sums(new)[name] >= before).all()
        assert (read_sums(new)[name] > before).any()


def test_a_bundle_without_these_sums_is_refused(logs: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, later = logs
    settings = ["model.width=16", "train.item_optimiser=adagrad", "train.epochs=1"]
    train(first, "gru", tmp_path / "first", protocol="all", settings=settings, progress=False)
    old = load_bundle(tmp_path / "first")
    files = {name: digest for name, digest in old.manifest.files.items() if name != "optimiser.safetensors"}
    old = replace(old, manifest=old.manifest.model_copy(update={"files": files}))
    with pytest.raises(ConfigError, match="doesn't hold the sums of squares"):
        go_on(old, later, tmp_path / "next", cut_of_first(), progress=False)
