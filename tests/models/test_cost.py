"""Costs against formulas by hand, and against PyTorch's counter in a real training step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.models import losses
from onward.models.base import Items, build
from onward.models.cost import default_cost, encoder_flops, loss_flops, training_flops
from onward.models.registry import MODELS, model_class

SEQUENCE = [name for name in MODELS if model_class(name).traits.trainable]


def _model(name: str, n_items: int, **settings: object):
    torch.manual_seed(0)
    counts = np.ones(n_items + 1, np.int64)
    return build(model_class(name), {"dropout": 0.0, **settings}, Items(counts, counts.astype(np.int32)))


@pytest.mark.parametrize(
    ("name", "settings", "flops"),
    [
        (
            "sasrec",
            {"blocks": 3, "feed_forward": 2, "heads": 2},
            lambda d, n: 3 * (2 * (4 + 4) * d * d + 2 * d * (n + 1)),
        ),
        ("esasrec", {"blocks": 1}, lambda d, n: 2 * (4 + 2 + 3 * 4) * d * d + 2 * d * (n + 1)),
        ("hstu", {"heads": 4}, lambda d, n: 2 * (2 * 5 * d * d + 4 * d * n)),  # its mask is a product with zero
        ("lrurec", {}, lambda d, n: 2 * (2 * (4 + 4 + 8) * d * d)),
        ("gru", {"layers": 2}, lambda d, n: 2 * 2 * 6 * d * d),
        ("lstm", {}, lambda d, n: 2 * 8 * d * d),
        ("rnn", {}, lambda d, n: 2 * 2 * d * d),
        ("nextitnet", {"dilations": [1, 2], "kernel": 3}, lambda d, n: 4 * 2 * 3 * d * d),
    ],
)
def test_encoders_cost_what_their_formula_says(name: str, settings: dict[str, object], flops) -> None:
    model = _model(name, 30, width=8, max_length=50, **settings)
    for length in (1, 7, 50):
        assert encoder_flops(model, length) == length * flops(8, length)


def test_losses_cost_what_their_formula_says() -> None:
    def flops(loss: str, n_items: int = 1000) -> int:
        return loss_flops(model_class("sasrec").Config(width=8, loss=loss, negatives=20), n_items)

    assert flops("cross_entropy") == flops("auto") == 2 * 8 * 1000
    assert flops("sampled_softmax") == flops("bpr") == flops("auto", 10**6) == 2 * 8 * 21
    assert flops("mse") == 2 * 8


def _attention(query, key, value, *rest, **more) -> int:
    pairs = query[2] * (query[2] + 1) // 2 if (*rest, False)[1] else query[2] * key[2]
    return 4 * query[0] * query[1] * pairs * query[3]


def _attention_backward(grad, query, key, value, out, sums, rate, causal, **more) -> int:
    return 2 * _attention(query, key, value, rate, causal)


def _added_product(added_to, left, right, **more) -> int:
    return 2 * left[0] * left[1] * right[1]


COUNTED = {
    torch.ops.aten.addmm_: _added_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@pytest.mark.parametrize("name", [name for name in SEQUENCE if name not in ("lstm", "bert4rec")])
def test_a_training_step_costs_what_pytorch_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "is_built", lambda: False)  # PyTorch counts its own operations alone
    # lstm: its backward kernel hides its products; bert4rec: it draws which steps have a target
    model = _model(name, 3000, width=16, max_length=32, loss="cross_entropy")
    histories = Histories.from_lists([list(range(1, 34))] * 6, 3000)
    batches = TrainingBatches(histories, 32, 10_000, seed=0)
    (windows,) = batches.epoch(0)
    batch = batches.batch(windows)
    model.train()
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counted:
        model.loss(batch).backward()
    item_biases = 2 * 2 * 6 * 32 * 3000  # one column more in the product of the logits, and in that of the gradient
    # the first step of a recurrence has no gradient for the state before it, nor a fixed filter any for its numbers
    rounding = 0.003 if name in ("rnn", "gru", "bsarec") else 0
    found = training_flops(model, batch.lengths.numpy(), 6 * 32) + item_biases
    assert found == pytest.approx(counted.get_total_flops(), rel=rounding)


def test_training_costs_are_summed_over_rows_of_their_own_length() -> None:
    model = _model("sasrec", 100, width=8, max_length=50)
    wanted = 3 * (encoder_flops(model, 3) + 2 * encoder_flops(model, 50) + 103 * loss_flops(model.config, 100))
    assert training_flops(model, [50, 3, 50], 103) == wanted


@pytest.mark.parametrize("name", SEQUENCE)
def test_every_sequence_model_has_a_cost(name: str) -> None:
    cost, model = default_cost(model_class(name)), _model(name, 10_000)
    assert cost.item_parameters + cost.encoder_parameters == sum(part.numel() for part in model.parameters())
    assert (cost.items, cost.length) == (10_000, model.config.max_length)
    assert cost.encoder_flops > 0
    assert cost.loss_flops > 0


def test_counting_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    default_cost(model_class("sasrec"))
    assert torch.equal(torch.get_rng_state(), before)
