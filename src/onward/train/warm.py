"""The warm start: a trained model's weights in the model of a log that has grown.

Items are matched by their ids, since indices may differ. An item that the old model learned of keeps its rows, to the
bit. Any other that has a training event now is new, and its rows come from what is known of it:

- its features, where the model makes item vectors of them: it begins as an item whose id says nothing (`Tower`);
- else its neighbours: the mean, over the events right before and after its own, of those items' rows;
- else the mean row of all items that the old model learned of.

Which parameters have a row an item is found by building the model for two sizes of catalog, so that this holds for
every sequence model, whatever its layers. What is no weight but a statistic of the training events (of values, for
interest) is taken anew. A model that is fitted in one call is fitted again instead: there is nothing to go on from.

Legend: V items of the new catalog, W of the old one, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from onward.data.catalog import Catalog
from onward.data.dataset import Dataset
from onward.data.sequences import Histories, Ints
from onward.data.split import Split
from onward.errors import ConfigError
from onward.models.base import Bools, Items, make_items
from onward.models.features.attach import with_features
from onward.models.features.extend import extend_columns, extended_embedding
from onward.models.features.source import Source
from onward.models.sequence import SequenceConfig, SequenceModel

AXIS_ITEMS = (5, 6)
"""Sizes of the two catalogs that show which axes have a row an item."""


@dataclass(frozen=True)
class WarmStart:
    """A model that knows what the old one learned, for the new data.

    Attributes:
        model: not yet trained on anything new.
        histories: of all users of the new data, as it reads them.
        sums: Adagrad's sums of squares, by parameter; zero for new items, which take their first steps.
        old_items, new_items: items with rows of the old model's, and with training events but none of these.
    """

    model: SequenceModel
    histories: Histories
    sums: dict[str, Tensor]
    old_items: int
    new_items: int


def warm_start(
    old: SequenceModel,
    catalog: Catalog,
    data: Dataset,
    divided: Split,
    seed: int = 0,
    unseen_shift: float = 0.0,
    sums: Mapping[str, Tensor] | None = None,
) -> WarmStart:
    """The model for a data set, with the weights of one that was trained on less of the same log.

    Args:
        old: the trained model. catalog: its items.
        divided: of the new data; its training events say which items are known now.
        seed: of what is fitted anew.
        unseen_shift: what the old model's scores of items without training events were raised by after its training
            (`SequenceModel`'s `Featured.raise_unseen`); it is taken back.
        sums: Adagrad's sums of squares, by parameter, as `Optimiser.sums` gives them.

    Raises:
        ConfigError: the catalog has outgrown the model, or no item of it is known to the old one.
    """
    training = divided.training(data.histories)
    # the training counts come from the data as it is now, tie order and features from its catalog
    items = make_items(training, data.catalog.tie_rank, data.catalog.frame, data.manifest.item_features)
    origin = _match(old, catalog, data.catalog, items)
    if not (origin > 0).any():
        raise ConfigError(
            f"model '{old.name}' knows none of the data set's {items.n:,} items, so there is nothing to go on from",
            "is this the same log? item ids must be those of the model's catalog; or train from nothing: onward train",
        )
    histories = data.histories
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = type(old)(old.config, items)
        if old.features is not None:
            source = Source.of(data)
            columns = extend_columns(old.features.columns, source, training)
            model.use_features(columns, data.catalog.frame)
            histories = with_features(histories, columns, source)
            training = divided.training(histories)
    model.start_training(training, seed)  # statistics of the new training events, for all items
    new = items.candidates & (origin == 0)
    rows = ItemRows(origin, new, _beside(training, origin, new, old.items.n), old.items.candidates)
    _take_weights(old, model, rows, unseen_shift)
    grown = _grow_sums(old, model, sums or {}, rows)
    return WarmStart(model, histories, grown, int((origin > 0).sum()), int(new.sum()))


def _match(old: SequenceModel, catalog: Catalog, wider: Catalog, items: Items) -> Ints:
    """(V + 1,) int64 old index of each item of the new catalog; 0 for one that the old model learned nothing of, unless
    nothing is known of it now either."""
    index = np.concatenate([[0], catalog.index(wider.ids)]).astype(np.int64)
    learned = old.items.candidates[index] | ~items.candidates
    return np.where(learned, index, 0)


def _beside(training: Histories, origin: Ints, new: Bools, old_items: int) -> sparse.csr_array:
    """(V + 1, W + 1) how often each new item has each old one right before or after it."""
    row, position = training.positions()
    item = training.item[position].astype(np.int64)
    neighbours = np.flatnonzero(np.diff(row) == 0)
    one = np.concatenate([item[neighbours], item[neighbours + 1]])
    other = origin[np.concatenate([item[neighbours + 1], item[neighbours]])]
    counted = new[one] & (other > 0)
    found = sparse.coo_array(
        (np.ones(int(counted.sum()), dtype=np.float32), (one[counted], other[counted])), (len(origin), old_items + 1)
    )
    return found.tocsr()


@dataclass(frozen=True)
class ItemRows:
    """Where the rows of the new catalog's items come from.

    Attributes:
        origin: (V + 1,) int64 index in the old catalog; 0 where it has none, and for padding.
        new: (V + 1,) bool, the items that get rows of their own.
        beside: (V + 1, W + 1) weights of the old items that a new one is made of; zero where there are none.
        learned: (W + 1,) bool, old items whose mean is taken where there are none.
    """

    origin: Ints
    new: Bools
    beside: sparse.csr_array
    learned: Bools

    def move(self, table: Tensor, axis: int, by_features: bool) -> Tensor:
        """A tensor whose `axis` has one place an old item, with one a new item there.

        `by_features`: a new item begins as row 0, an id that says nothing.
        """
        rows = table.detach().cpu().movedim(axis, 0)
        moved = rows[torch.from_numpy(self.origin)]
        new = np.flatnonzero(self.new)
        if len(new) and not by_features:
            flat = rows.reshape(len(rows), -1).numpy()
            weights = self.beside[new]
            total = np.asarray(weights.sum(axis=1)).ravel()[:, None]
            mean = flat[self.learned].mean(axis=0, keepdims=True)
            made = np.where(total > 0, (weights @ flat) / np.maximum(total, 1), mean).astype(flat.dtype)
            moved[torch.from_numpy(new)] = torch.from_numpy(made).reshape(len(new), *rows.shape[1:])
        return moved.movedim(0, axis).contiguous()

    def blank(self, table: Tensor, axis: int) -> Tensor:
        """The same with zeros for new items."""
        moved = self.move(table, axis, by_features=True).movedim(axis, 0)
        moved[torch.from_numpy(self.new)] = 0
        return moved.movedim(0, axis).contiguous()


def item_axes(kind: type[SequenceModel], config: SequenceConfig) -> dict[str, tuple[int, ...]]:
    """Name of each parameter of a model without features -> its axes with one place an item, padding included."""
    with torch.random.fork_rng():
        shapes = [
            {name: parameter.shape for name, parameter in _blank_model(kind, config, size).named_parameters()}
            for size in AXIS_ITEMS
        ]
    one, other = shapes
    return {
        name: tuple(axis for axis, (a, b) in enumerate(zip(shape, other[name], strict=True)) if a != b)
        for name, shape in one.items()
    }


def _blank_model(kind: type[SequenceModel], config: SequenceConfig, size: int) -> SequenceModel:
    counts = np.concatenate([[0], np.ones(size, dtype=np.int64)])
    return kind(config, Items(counts, np.arange(size + 1, dtype=np.int32)))


def _take_weights(old: SequenceModel, model: SequenceModel, rows: ItemRows, unseen_shift: float) -> None:
    """Copy every parameter, tables of items by item and embeddings of values by value."""
    axes = item_axes(type(old), old.config)
    learned: dict[str, Tensor] = {name: parameter.detach() for name, parameter in old.named_parameters()}
    if unseen_shift:  # it was added to the bias that all items without an id share, and new ones begin there
        learned["output_bias"] = learned["output_bias"].clone()
        learned["output_bias"][0] -= unseen_shift
    by_features = _of_the_tower(model)
    embeddings = _embeddings(old, model, learned)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = embeddings.get(name, learned[name].cpu())
            for axis in axes.get(name, ()):
                tensor = rows.move(tensor, axis, name in by_features)
            parameter.copy_(tensor)


def _grow_sums(
    old: SequenceModel, model: SequenceModel, sums: Mapping[str, Tensor], rows: ItemRows
) -> dict[str, Tensor]:
    """Sums of squares of every parameter, those of items by item; zero for what is new."""
    axes = item_axes(type(old), old.config)
    embeddings = _embeddings(old, model, sums)
    found = {}
    for name, tensor in sums.items():
        grown = embeddings.get(name, tensor)
        for axis in axes.get(name, ()):
            if axis < grown.dim():  # of a table there is one number a row
                grown = rows.blank(grown, axis)
        found[name] = grown
    return found


def _of_the_tower(model: SequenceModel) -> set[str]:
    """The tables that hold what an id says beside features."""
    if model.featured is None or not model.featured.makes_items:
        return set()
    return {"input.weight", "output.weight", "output_bias"}


def _embeddings(old: SequenceModel, model: SequenceModel, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tables of embeddings of features' values, grown with their vocabularies."""
    if old.features is None or model.features is None:
        return {}
    found = {}
    for part in ("items", "events", "request"):
        before, after = getattr(old.features, part), getattr(model.features, part)
        if before is not None and f"features.{part}.embedding" in learned:
            name = f"features.{part}.embedding"
            found[name] = extended_embedding(learned[name].detach().cpu(), before.columns, after.columns)
    return found
