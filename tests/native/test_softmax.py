"""The compiled cross-entropy against the plain one in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from onward.models import losses
from onward.native import softmax

pytestmark = pytest.mark.usefixtures("compiled")


def _problem(states: int, items: int, width: int, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(states + items + width)
    made = [torch.randn(*shape, generator=generator) * scale for shape in ((states, width), (items, width), (items,))]
    targets = torch.randint(items, (states,), generator=generator)
    return *(tensor.requires_grad_() for tensor in made), targets, torch.rand(states, generator=generator) + 0.1


def _plain(
    states: torch.Tensor,
    table: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    owners: torch.Tensor | None = None,
    copied: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    each = states.double() if owners is None else states.double()[owners]
    logits = each @ table.double().T + bias.double()
    log_target = -F.cross_entropy(logits, targets, reduction="none")
    if copied is not None:
        log_target = torch.logaddexp(copied[0].double() + log_target, copied[1].double())
    return -(log_target * weights.double()).sum() / weights.double().sum()


def _assert_equal(
    found: torch.Tensor, wanted: torch.Tensor, inputs: tuple[torch.Tensor, ...], tolerance: float = 1e-5
) -> None:
    assert found.item() == pytest.approx(wanted.item(), rel=tolerance)
    gradients = (torch.autograd.grad(loss, inputs, retain_graph=True) for loss in (found, wanted))
    pairs = zip(*gradients, strict=True)
    for name, (got, expected) in enumerate(pairs):
        assert (got - expected).abs().max() <= tolerance * expected.abs().max() + 1e-7, name


@pytest.mark.parametrize("states", [1, 5, 6, 13, 193, 700])
@pytest.mark.parametrize("items", [1, 2, 15, 16, 17, 300, 7001])
@pytest.mark.parametrize("width", [1, 5, 6, 16, 63, 64, 100])
def test_equals_the_plain_one_in_value_and_gradients(states: int, items: int, width: int) -> None:
    """Sizes around those of tiles, panels, stretches and blocks."""
    *given, targets, weights = _problem(states, items, width, 1 / width**0.5)
    found = losses.full_softmax(*given, targets, weights)
    _assert_equal(found, _plain(*given, targets, weights), tuple(given))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_shared_states_and_mixtures_in_threads(mixed: bool, threads: int) -> None:
    states, items, width = 900, 50, 7
    *given, _, _ = _problem(states, items, width)
    generator = torch.Generator().manual_seed(1)
    owners = torch.randint(20, states - 20, (1500,), generator=generator).sort().values  # some predict nothing
    targets, weights = torch.randint(items, (1500,), generator=generator), torch.rand(1500, generator=generator)
    gate = torch.randn(1500, generator=generator, requires_grad=True)
    copied = torch.rand(1500, generator=generator, requires_grad=True)
    nowhere = torch.arange(1500) % 4 == 0  # targets that can't come from elsewhere
    other = F.logsigmoid(-gate) + torch.where(nowhere, -torch.inf, copied.log())
    mixture = (F.logsigmoid(gate), other) if mixed else None
    inputs = (*given, gate, copied) if mixed else tuple(given)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = losses.full_softmax(*given, targets, weights, owners=owners, copied=mixture)
        again = losses.full_softmax(*given, targets, weights, owners=owners, copied=mixture)
    finally:
        torch.set_num_threads(before)
    first, second = (torch.autograd.grad(loss, inputs, retain_graph=True) for loss in (found, again))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    _assert_equal(found, _plain(*given, targets, weights, owners, mixture), inputs)


def test_logits_of_any_size() -> None:
    """Powers of what lies far below a row's largest logit vanish; nothing overflows."""
    *given, targets, weights = _problem(40, 200, 8, scale=20.0)
    _assert_equal(losses.full_softmax(*given, targets, weights), _plain(*given, targets, weights), tuple(given), 1e-4)


def test_a_target_of_probability_one_gives_no_gradient() -> None:
    states, table = torch.eye(3, requires_grad=True), (torch.eye(3) * 200).requires_grad_()
    loss = losses.full_softmax(states, table, torch.zeros(3), torch.arange(3), torch.ones(3))
    assert loss.item() == 0
    assert all(grad.abs().max() == 0 for grad in torch.autograd.grad(loss, (states, table)))


def test_views_of_larger_tensors() -> None:
    wide, long = torch.randn(9, 20, requires_grad=True), torch.randn(12, 10, requires_grad=True)
    bias, targets, weights = torch.zeros(11), torch.arange(18)[::2] % 11, torch.ones(9)
    found = losses.full_softmax(wide[:, ::2], long[1:], bias, targets, weights)
    _assert_equal(found, _plain(wide[:, ::2], long[1:], bias, targets, weights), (wide, long))


def test_what_is_no_number_stays_none() -> None:
    *given, targets, weights = _problem(10, 40, 8)
    with torch.no_grad():
        given[0][3, 2] = torch.nan
    assert losses.full_softmax(*given, targets, weights).isnan()


@pytest.mark.parametrize("wrong", [-1, 40])
def test_a_target_that_is_no_item_is_refused(wrong: int) -> None:
    *given, targets, weights = _problem(10, 40, 8)
    targets[4] = wrong
    with pytest.raises(IndexError, match=f"targets are .*{wrong}.*of 40 rows"):
        losses.full_softmax(*given, targets, weights)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bias": torch.zeros(39)}, r"bias has the shape \(39,\) where \(40,\)"),
        ({"weights": torch.ones(9)}, "weights has the shape"),
        ({"targets": torch.zeros(11, dtype=torch.int64)}, "targets has the shape"),
        ({"targets": torch.zeros(10, dtype=torch.int32)}, "targets is torch.int32"),
        ({"table": torch.zeros(40, 8, dtype=torch.float64)}, "table is torch.float64"),
        ({"owners": torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 9, 8])}, "don't ascend"),
        ({"owners": torch.arange(10) + 1}, "owners are 1 to 10, of 10 rows"),
        ({"owners": torch.arange(10) - 1}, "owners are -1 to 8, of 10 rows"),
        ({"asked": torch.zeros(10)}, "a mixture has both"),
        ({"asked": torch.zeros(10), "other": torch.zeros(9)}, "other has the shape"),
    ],
)
def test_what_does_not_fit_is_refused_before_memory_is_read(wrong: dict[str, torch.Tensor], said: str) -> None:
    states, table, bias, targets, weights = (tensor.detach() for tensor in _problem(10, 40, 8))
    fitting = softmax.Predictions(states, table, bias, targets, weights, None, None, None)
    with pytest.raises((ValueError, IndexError), match=said):
        softmax.softmax_gradients(fitting._replace(**wrong))


def test_without_a_library_pytorch_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    *given, targets, weights = _problem(300, 90, 8)
    compiled = losses.full_softmax(*given, targets, weights)
    monkeypatch.setattr(losses, "is_built", lambda: False)
    by_pytorch = losses.full_softmax(*given, targets, weights)
    torch.testing.assert_close(compiled, by_pytorch)
    pairs = (torch.autograd.grad(each, given) for each in (compiled, by_pytorch))
    torch.testing.assert_close(*pairs)
