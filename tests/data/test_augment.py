"""Augmentation: what each transform may change, and that what is wanted stays true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.data import augment
from onward.data.augment import Augmentation, AugmentedRows
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories

V = 40
SIMILAR = np.zeros((V + 1, 3), np.int64)
SIMILAR[1:, 0] = np.arange(1, V + 1) % V + 1  # each is like the next one, and every third like the one after as well
SIMILAR[3::3, 1] = (np.arange(3, V + 1, 3) + 1) % V + 1
LISTS = st.lists(st.lists(st.integers(1, V), min_size=2, max_size=12), min_size=1, max_size=6)
SHARE = st.floats(0.01, 0.95)
TRANSFORMS = [*augment.PLAIN, *augment.BY_SIMILARITY]


def _rows(lists: list[list[int]], least: int = 2) -> AugmentedRows:
    flat = np.array([item for items in lists for item in items], np.int64)
    return AugmentedRows(flat, flat, np.arange(len(flat)), np.array([len(items) for items in lists]), least)


def _apply(name: str, rows: AugmentedRows, share: float, seed: int = 0) -> AugmentedRows:
    shares = np.full(len(rows.lengths), share)
    rng = np.random.default_rng(seed)
    if name in augment.BY_SIMILARITY:
        return augment.BY_SIMILARITY[name](rows, shares, rng, SIMILAR)
    return augment.PLAIN[name](rows, shares, rng)


def _split(column: np.ndarray, rows: AugmentedRows) -> list[list[int]]:
    return [part.tolist() for part in np.split(column, np.cumsum(rows.lengths)[:-1])]


@given(LISTS, SHARE, st.integers(0, 99))
def test_crop_keeps_successive_events(lists, share, seed) -> None:
    rows = _apply("crop", _rows(lists), share, seed)
    for items, kept, positions in zip(lists, _split(rows.shown, rows), _split(rows.positions, rows), strict=True):
        assert len(kept) == max(2, len(items) - np.ceil(round(share * len(items), 9)))
        assert positions == list(range(positions[0], positions[0] + len(kept)))
        assert kept in [items[i : i + len(kept)] for i in range(len(items))]
    assert (rows.shown == rows.wanted).all()


@given(LISTS, SHARE, st.integers(0, 99))
def test_drop_keeps_the_order_of_the_others(lists, share, seed) -> None:
    before = _rows(lists)
    rows = _apply("drop", before, share, seed)
    for items, positions in zip(lists, _split(rows.positions, rows), strict=True):
        assert len(positions) == max(2, len(items) - np.ceil(round(share * len(items), 9)))
        assert positions == sorted(set(positions))
    assert (rows.shown == before.shown[rows.positions]).all()
    assert (rows.shown == rows.wanted).all()


@given(LISTS, SHARE, st.integers(0, 99))
def test_reorder_moves_items_in_one_block_and_no_times(lists, share, seed) -> None:
    before = _rows(lists)
    rows = _apply("reorder", before, share, seed)
    assert (rows.positions == before.positions).all()
    assert (rows.shown == rows.wanted).all()
    for items, moved in zip(lists, _split(rows.shown, rows), strict=True):
        assert sorted(items) == sorted(moved)
        places = [place for place in range(len(items)) if items[place] != moved[place]]
        assert not places or places[-1] - places[0] < np.ceil(round(share * len(items), 9))


@given(LISTS, SHARE, st.integers(0, 99), st.sampled_from(["mask", "substitute"]))
def test_what_is_only_shown_otherwise_is_still_wanted(lists, share, seed, name) -> None:
    before = _rows(lists)
    rows = _apply(name, before, share, seed)
    assert (rows.wanted == before.wanted).all()
    changed = rows.shown != before.shown
    wanted = np.ceil(np.round(share * before.lengths, 9))
    assert np.bincount(before.row[changed], minlength=len(lists)).tolist() == wanted.tolist()
    if name == "mask":
        assert (rows.shown[changed] == augment.MASK).all()
    else:
        assert (SIMILAR[before.shown[changed]] == rows.shown[changed, None]).any(axis=1).all()


@given(LISTS, SHARE, st.integers(0, 99))
def test_an_inserted_item_is_like_the_one_before_and_the_true_next_one_is_wanted(lists, share, seed) -> None:
    before = _rows(lists)
    rows = _apply("insert", before, share, seed)
    added = np.append(False, np.diff(rows.positions) == 0)
    assert (rows.shown[~added] == before.shown).all()
    assert (rows.wanted[~added] == before.wanted).all()
    assert (rows.row[~added] == before.row).all()
    place = np.flatnonzero(added)
    assert (SIMILAR[before.shown[rows.positions[place]]] == rows.shown[place, None]).any(axis=1).all()
    assert (rows.wanted[place] == before.shown[rows.positions[place] + 1]).all()
    assert (rows.row[place] == before.row[rows.positions[place] + 1]).all()  # so never after the last
    counts = np.ceil(np.round(share * before.lengths, 9))
    assert (rows.lengths - before.lengths <= counts).all()
    assert (rows.lengths - before.lengths >= counts - 1).all()


def test_an_item_without_similar_ones_stays() -> None:
    rows = _rows([[5, 6, 7]])
    nothing = np.zeros((V + 1, 3), np.int64)
    for transform in augment.BY_SIMILARITY.values():
        assert transform(rows, np.array([0.9]), np.random.default_rng(0), nothing).shown.tolist() == [5, 6, 7]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_any_place_is_as_likely_as_another(name: str) -> None:
    lists = [list(range(1, 11))] * 3000
    rows = _apply(name, _rows(lists), 0.3)
    if name in ("crop", "drop"):
        left = np.bincount(rows.shown, minlength=11)[1:] / 3000
        wanted = (
            np.full(10, 0.7)
            if name == "drop"
            else np.minimum.reduce([np.arange(1, 11), np.arange(10, 0, -1), np.full(10, 4)]) / 4
        )
    elif name == "insert":
        left = np.bincount(rows.positions % 10) / 3000 - 1
        wanted = np.append(np.full(9, 0.3), 0)
    elif name == "reorder":
        left = (rows.shown.reshape(3000, 10) != np.arange(1, 11)).mean(0)
        wanted = np.minimum.reduce([np.arange(1, 11), np.arange(10, 0, -1), np.full(10, 3)]) / 8 * 2 / 3
    else:
        left, wanted = (rows.shown.reshape(3000, 10) != np.arange(1, 11)).mean(0), np.full(10, 0.3)
    np.testing.assert_allclose(left, wanted, atol=0.03)


def test_a_share_of_the_rows_is_changed_each_once() -> None:
    lists = [list(range(1, 21))] * 4000
    augmentation = Augmentation(["mask", "substitute"], rows=0.4, strength=0.5, similar=SIMILAR)
    rows = augmentation.apply(_rows(lists), np.random.default_rng(0))
    shown = rows.shown.reshape(4000, 20)
    masked, other = (shown == 0).sum(1), ((shown != 0) & (shown != np.arange(1, 21))).sum(1)
    assert set(zip(masked.tolist(), other.tolist(), strict=True)) == {(0, 0), (10, 0), (0, 10)}
    assert abs((masked > 0).mean() - 0.2) < 0.02
    assert abs((other > 0).mean() - 0.2) < 0.02


@given(LISTS, st.integers(1, 8), st.sampled_from(["last", "all", "prefix"]), st.integers(0, 9))
def test_a_batch_changed_nowhere_is_the_batch_itself(lists, max_length, windows, step) -> None:
    histories = Histories.from_lists(lists, V)
    timed = Histories(
        {**histories.columns, "time": np.arange(len(histories.item)) * 7}, histories.start, histories.end, V
    )
    nothing = Augmentation(["crop", "insert"], rows=0.0, strength=0.5, similar=SIMILAR)
    plain, changed = (
        TrainingBatches(timed, max_length, 1000, 0, windows, "target", augmentation=augmentation)
        for augmentation in (None, nothing)
    )
    (rows,) = plain.epoch(0)
    one, other = plain.batch(rows), changed.batch(rows, (step,))
    for name, column in vars(one).items():
        same = vars(other)[name]
        assert (column is None) == (same is None), name
        if isinstance(column, dict):
            assert {key: part.tolist() for key, part in column.items()} == {
                key: part.tolist() for key, part in same.items()
            }
        else:
            assert column is None or column.tolist() == same.tolist(), name


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("windows", ["last", "all", "prefix"])
def test_an_augmented_batch_repeats_fits_and_keeps_the_target_of_a_prefix(name: str, windows: str) -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, V + 1, rng.integers(2, 30)).tolist() for _ in range(50)]
    augmentation = Augmentation([name], rows=1.0, strength=0.5, similar=SIMILAR)
    batches = TrainingBatches(Histories.from_lists(lists, V), 10, 10_000, 3, windows, augmentation=augmentation)
    (rows,) = batches.epoch(0)
    batch, again, other = batches.batch(rows, (1, 0)), batches.batch(rows, (1, 0)), batches.batch(rows, (2, 0))
    assert batch.items.tolist() == again.items.tolist()
    assert batch.items.tolist() != other.items.tolist()
    assert 1 <= int(batch.lengths.min()) <= int(batch.lengths.max()) <= 10
    assert int(batch.lengths.sum()) == len(batch.items)
    assert (batch.targets > 0).all()
    if windows == "prefix":
        plain = batches.steps.train(batches.first[rows], batches.last[rows], True)
        assert batch.targets.tolist() == plain.targets.tolist()
        assert batch.target_steps.tolist() == (batch.lengths.cumsum(0) - 1).tolist()


def test_a_second_view_leaves_the_batch_as_it_is() -> None:
    lists = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10]]
    augmentation = Augmentation(["drop"], rows=1.0, strength=0.5)
    batches = TrainingBatches(Histories.from_lists(lists, V), 10, 100, 0, augmentation=augmentation, views=True)
    (rows,) = batches.epoch(0)
    batch = batches.batch(rows, (0, 0))
    assert batch.items.tolist() == batches.steps.train(batches.first[rows], batches.last[rows]).items.tolist()
    assert sorted(batch.view.lengths.tolist()) == [1, 2]  # half of 3 and of 5 inputs, rounded down
    assert batch.to("cpu").view.items.tolist() == batch.view.items.tolist()
