"""What training leaves out by chance: the ids of items, and columns of features."""

from __future__ import annotations

import pytest
import torch

from feature_data import fitted, items_of, make_source
from onward.models import noise
from onward.models.base import build
from onward.models.features.featured import Featured
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel

DRAWS = 60


def make(**settings: float) -> tuple[SequenceModel, Featured]:
    """A model with all features and weights that all say something."""
    source = make_source()
    columns, _ = fitted(source)
    model = build(model_class("gru"), {"width": 16, "dropout": 0.0, **settings}, items_of(source))
    assert isinstance(model, SequenceModel)
    model.use_features(columns, source.items)
    assert model.featured is not None
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model, model.featured


def vectors(model: SequenceModel, featured: Featured, training: bool, seed: int = 0) -> torch.Tensor:
    """(V, D) vectors of the catalog, as a training step ranks by them or without chance."""
    model.train(training)
    with noise.drawing(seed):
        made, _ = featured.outputs()
    assert isinstance(made, torch.Tensor)
    return made[1:].detach()


def test_a_share_of_the_items_is_without_its_id_as_input_and_as_target_alike() -> None:
    model, featured = make(id_dropout=0.25, feature_dropout=0.0)
    whole = vectors(model, featured, training=False)
    bare, _ = featured.items_of(make_source().items)
    trained = torch.from_numpy(model.items.train_counts[1:] > 0)
    left_out = 0
    for seed in range(DRAWS):
        found = vectors(model, featured, True, seed)
        with_id, without = torch.isclose(found, whole).all(1), torch.isclose(found, bare).all(1)
        assert (with_id | without).all()
        left_out += int((without & trained).sum())
        with noise.drawing(seed):
            read = featured._item_vectors(torch.arange(1, len(whole) + 1))
        torch.testing.assert_close(read, found)
    assert left_out / (DRAWS * int(trained.sum())) == pytest.approx(0.25, abs=0.05)
    kept, same = make(id_dropout=0.0, feature_dropout=0.0)
    torch.testing.assert_close(vectors(kept, same, True), whole)


def test_a_share_of_the_columns_is_left_out_of_each_item() -> None:
    model, featured = make(id_dropout=0.0, feature_dropout=0.25)
    whole = vectors(model, featured, training=False)
    trained = torch.from_numpy(model.items.train_counts > 0)
    base = dict(model.named_parameters())["input.weight"].detach()[trained]
    said = whole[trained[1:]] - base  # it is a sum over columns
    found = torch.stack([vectors(model, featured, True, seed)[trained[1:]] for seed in range(5 * DRAWS)]) - base
    share = (found * said).sum() / (said**2).sum() / len(found)
    assert float(share) == pytest.approx(0.75, abs=0.03)
    assert not torch.isclose(found[0], said).all(1).all()
    torch.testing.assert_close(vectors(model, featured, training=False), whole)
