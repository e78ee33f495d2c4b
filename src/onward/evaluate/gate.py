"""The gate between two versions of a model: the next one must not be worse, on requests that neither was trained on.

Both answer the same requests from the same fresh histories, the current one as it would if it went on serving: items
that it doesn't know are left out of its input and can't be recommended by it, so a target that is one of them is a
miss of it. The next one passes when the lower end of the paired 95% interval of NDCG@10, users resampled, lies above a
small loss: that it is better need not be shown, that it is not worse must be.

Shapes: R requests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.data.sequences import Ints
from onward.data.split import Part
from onward.evaluate.answers import METRICS, answer
from onward.evaluate.bootstrap import Floats, intervals, means, paired_tests, user_sums
from onward.evaluate.ranking import Progress
from onward.evaluate.results import Estimate
from onward.payload import Payload

MARGIN = 0.01
"""Share of the current NDCG@10 that the next model may lose, as far as the interval tells."""


class Gate(Payload):
    """Two models on the same requests."""

    requests: int
    """Requests."""
    users: int
    """Users who made them."""
    current: dict[str, Estimate]
    """NDCG@10 and HR@10 of the current model."""
    candidate: dict[str, Estimate]
    """The same of the next one."""
    current_cold: float
    """Share of the targets that the current model doesn't know: misses."""
    candidate_cold: float
    """The same of the next one."""
    difference: Estimate
    """NDCG@10 of the candidate less the current one's on the same requests, with its paired 95% interval."""
    known_difference: Estimate | None
    """The same on requests whose targets the current model knows; None where there are none."""
    p_value: float
    """Two-sided, of the difference."""
    least: float
    """What the lower end of the difference's interval must lie above."""
    passed: bool
    """Whether it does."""


def gate(
    current: Bundle,
    candidate: Bundle,
    data: Dataset,
    part: Part,
    margin: float = MARGIN,
    seed: int = 0,
    progress: Progress | None = None,
) -> Gate:
    """Compare two models on a part that neither was trained on.

    Whether items of the history may come again is as the current model has it.

    Args:
        margin: share of the current NDCG@10.
        seed: of the users resampled.
    """
    ours, theirs = (_answers(model, data, part, current.manifest.seen, progress) for model in (current, candidate))
    return judge(part.user, ours, theirs, margin, seed)


Answers = tuple[Floats, NDArray[np.bool_]]
"""(R, 2) NDCG@10 and HR@10, and (R,) whether a request asks for nothing that the model knows."""


def judge(user: Ints, current: Answers, candidate: Answers, margin: float = MARGIN, seed: int = 0) -> Gate:
    """The gate of what two models answered; `user` is (R,), who asked."""
    (ours, our_cold), (theirs, their_cold) = current, candidate
    number = np.unique(user, return_inverse=True)[1].astype(np.int64)
    (estimates,) = intervals([(user_sums(number, np.concatenate([ours, theirs], axis=1)), means)], seed)
    (test,) = paired_tests(number, theirs[:, :1] - ours[:, :1], seed)
    known = ~our_cold
    of_known = None
    if known.any():
        who = np.unique(user[known], return_inverse=True)[1].astype(np.int64)
        (on_known,) = paired_tests(who, (theirs - ours)[known, :1], seed)
        of_known = on_known.difference
    least = -margin * estimates[0].value
    return Gate(
        requests=len(user),
        users=int(number.max()) + 1,
        current=dict(zip(METRICS, estimates[:2], strict=True)),
        candidate=dict(zip(METRICS, estimates[2:], strict=True)),
        current_cold=float(our_cold.mean()),
        candidate_cold=float(their_cold.mean()),
        difference=test.difference,
        known_difference=of_known,
        p_value=test.p_value,
        least=least,
        passed=bool(test.difference.low > least),
    )


def _answers(bundle: Bundle, data: Dataset, part: Part, seen: str, progress: Progress | None) -> Answers:
    answers = answer(bundle, data, part, seen, progress)
    return answers.select(METRICS).to_numpy(), answers["cold"].to_numpy() == 1
