"""Losses of targets against a sample of other items, as pure functions.

Shapes: N predictions, D width, K negatives shared by all predictions, each item once. Every loss is the weighted mean
over predictions, a scalar; weights are (N,) float32. `hits` is (N,) int64: where a prediction's own target stands
among the negatives, -1 where it doesn't; there it counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_ROWS = 256
"""Predictions whose logits of all negatives are held at once."""


def sampled_softmax(
    positive: Tensor,
    states: Tensor,
    vectors: Tensor,
    bias: Tensor,
    log_included: Tensor,
    hits: Tensor,
    weights: Tensor,
) -> Tensor:
    """Softmax over the target and the negatives, each negative's logit less its log-probability of being there (logQ).

    Bengio and Senecal (2008), "Adaptive importance sampling to accelerate training of a neural probabilistic language
    model". A negative that is there with probability p stands for 1 / p items (Horvitz and Thompson, 1952), so that the
    sum over negatives is an unbiased estimate of the sum over all items but the target, and exactly that sum once
    every item is there.

    Args:
        positive: (N,) logits of the targets. states: (N, D). vectors: (K, D) and bias: (K,) of the negatives.
        log_included: (K,) log-probability of each negative being in the sample.
    """
    offset = bias - log_included
    loss: Tensor = _SampledSoftmax.apply(positive, states, vectors, offset, hits, weights / weights.sum())  # type: ignore[no-untyped-call]
    return loss


class _SampledSoftmax(torch.autograd.Function):
    """The gradient is made in the forward pass, chunk by chunk, since it needs the same probabilities as the loss."""

    @staticmethod
    def forward(
        ctx: Any, positive: Tensor, states: Tensor, vectors: Tensor, bias: Tensor, hits: Tensor, scale: Tensor
    ) -> Tensor:
        loss = positive.new_zeros(())
        grad_positive, grad_states = torch.empty_like(positive), torch.empty_like(states)
        grad_vectors, grad_bias = torch.zeros_like(vectors), torch.zeros_like(bias)
        scaled = states * scale[:, None]
        buffer = states.new_empty(min(CHUNK_ROWS, len(states)), len(vectors))
        for first in range(0, len(states), CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            logits = torch.addmm(bias, states[rows], vectors.T, out=buffer[: len(positive[rows])])
            _mask(logits, hits[rows], -torch.inf)
            total = torch.logaddexp(torch.logsumexp(logits, 1), positive[rows])
            excess = positive[rows] - total  # log-probability of the target
            loss -= (excess * scale[rows]).sum()
            probabilities = logits.sub_(total[:, None]).exp_()
            grad_positive[rows] = torch.expm1(excess)
            torch.mm(probabilities, vectors, out=grad_states[rows])
            grad_vectors.addmm_(probabilities.T, scaled[rows])
            grad_bias.addmv_(probabilities.T, scale[rows])
        ctx.save_for_backward(grad_positive * scale, grad_states.mul_(scale[:, None]), grad_vectors, grad_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * grad_output for grad in ctx.saved_tensors), None, None


def bce(positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Binary cross-entropy of the target against the mean of its negatives (SASRec, Kang and McAuley 2018).

    This and the losses below give (N,) from (N,) positive and (N, K) negative logits; `counts` ((N, K) float32) is how
    often each negative was drawn, 0 where it is the target itself.
    """
    return F.softplus(-positive) + _mean(F.softplus(negative), counts)


def squared(positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Squared error of the target's probability from 1, and mean of that of its negatives' from 0."""
    return (1 - positive.sigmoid()) ** 2 + _mean(negative.sigmoid() ** 2, counts)


def gbce(positive: Tensor, negative: Tensor, counts: Tensor, rate: float, calibration: float) -> Tensor:
    """Generalised binary cross-entropy: the target's probability to the power of beta (gSASRec).

    Petrov and Macdonald (RecSys 2023, arXiv:2308.07192). Sampling negatives makes a model overconfident; with sampling
    rate a and calibration t, beta = a (t (1 - 1/a) + 1/a) undoes it: 1 at t = 0 (plain), a at t = 1 (calibrated).

    Args:
        rate: negatives over items, in (0, 1]. calibration: t in [0, 1].
    """
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    against = (F.softplus(negative) * counts).sum(1)
    return (beta * F.softplus(-positive) + against) / (1 + counts.sum(1))


def bpr(positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Bayesian personalised ranking: -log sigmoid(target - negative), mean over negatives (Rendle et al. 2009)."""
    return _mean(F.softplus(negative - positive.unsqueeze(1)), counts)


def bpr_max(positive: Tensor, negative: Tensor, counts: Tensor, regularization: float) -> Tensor:
    """BPR-max: -log sum_j s_j sigmoid(target - r_j) + regularization sum_j s_j r_j^2, s the softmax over negatives r.

    Hidasi and Karatzoglou (CIKM 2018, arXiv:1706.03847). A target without negatives costs nothing.
    """
    lowest = torch.finfo(negative.dtype).min  # not -inf, of whose gradient nothing finite is left
    log_share = torch.log_softmax((negative + counts.log()).clamp(min=lowest), 1)
    beaten = torch.logsumexp(log_share + F.logsigmoid(positive.unsqueeze(1) - negative), 1)
    penalty = (log_share.exp() * negative**2).sum(1)
    return (regularization * penalty - beaten) * (counts.sum(1) > 0)


def mean_over_predictions(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    positive: Tensor,
    states: Tensor,
    vectors: Tensor,
    bias: Tensor,
    counts: Tensor,
    hits: Tensor,
    weights: Tensor,
) -> Tensor:
    """The weighted mean of a loss of (positive, negative, counts), without ever holding all (N, K) logits.

    Args:
        positive: (N,) logits of the targets. states: (N, D). vectors: (K, D) and bias: (K,) of the negatives.
        counts: (K,) float32 times that each negative was drawn.
    """
    scale = weights / weights.sum()
    mean: Tensor = _Chunked.apply(loss, positive, states, vectors, bias, counts, hits, scale)  # type: ignore[no-untyped-call]
    return mean


class _Chunked(torch.autograd.Function):
    """Loss and gradient chunk by chunk in the forward pass, so that a chunk's logits stay in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        positive: Tensor,
        states: Tensor,
        vectors: Tensor,
        bias: Tensor,
        counts: Tensor,
        hits: Tensor,
        scale: Tensor,
    ) -> Tensor:
        mean = positive.new_zeros(())
        grad_positive, grad_states = torch.empty_like(positive), torch.empty_like(states)
        grad_vectors, grad_bias = torch.zeros_like(vectors), torch.zeros_like(bias)
        for first in range(0, len(states), CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            own = positive[rows].detach().requires_grad_()
            others = torch.addmm(bias, states[rows], vectors.T).requires_grad_()
            kept = counts.expand(len(own), -1).clone()
            _mask(kept, hits[rows], 0)
            with torch.enable_grad():
                part = (loss(own, others, kept) * scale[rows]).sum()
                grad_positive[rows], grad_others = torch.autograd.grad(part, (own, others))
            mean += part.detach()
            torch.mm(grad_others, vectors, out=grad_states[rows])
            grad_vectors.addmm_(grad_others.T, states[rows])
            grad_bias += grad_others.sum(0)
        ctx.save_for_backward(grad_positive, grad_states, grad_vectors, grad_bias)
        return mean

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(grad * grad_output for grad in ctx.saved_tensors), None, None, None


def find_hits(targets: Tensor, items: Tensor) -> Tensor:
    """(N,) int64 place of each target among (K,) ascending items, -1 where it isn't one of them."""
    place = torch.searchsorted(items, targets).clamp_(max=len(items) - 1)
    return torch.where(items[place] == targets, place, -1)


def _mask(values: Tensor, hits: Tensor, value: float) -> None:
    rows = (hits >= 0).nonzero().squeeze(1)
    values[rows, hits[rows]] = value


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum(1) / counts.sum(1).clamp(min=1)
