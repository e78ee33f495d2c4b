"""Exact ranks of the targets over the whole catalog, by counting and in chunks.

Shapes: R requests, T targets (each request has one or a set), V items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onward.data.arrays import distinct
from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.evaluate.external import known_only
from onward.models.base import Bools, Recommender
from onward.models.top_k import chunks, mask_scores
from onward.threads import team

Progress = Callable[[int, int], None]
"""Called with (requests done, requests in all), from any thread."""
OnScores = Callable[[Ints, Tensor], None]
"""Called from any thread with the row numbers of a chunk's requests and their (rows, V + 1) scores, -inf for what isn't
allowed."""
_BLOCK = 250_000
"""Scores that stay in the processor's cache while they are compared with one target after the other (1 MB)."""


@dataclass(frozen=True)
class Ranks:
    """Where each target stands among the candidates.

    A target's rank is uniform on `above + 1` to `above + tied`: the order inside a tie is a coin toss. Targets of
    one request with the same `above` are in the same tie.

    Attributes:
        request: (T,) int64 row of the request, ascending.
        item: (T,) int64 item index, distinct and ascending within a request.
        above: (T,) int64 allowed items with a higher score, other targets included.
        tied: (T,) int64 allowed items with the same score, itself included; 0 for a miss: an item that can't be
            recommended.
        size: (R,) int64 targets of each request, misses included.
        cold: (T,) bool, a miss because the item is no candidate (not seen in training).
        seen: (T,) bool, a miss because the item is in the history and seen items are excluded.
    """

    request: Ints
    item: Ints
    above: Ints
    tied: Ints
    size: Ints
    cold: Bools
    seen: Bools

    def __len__(self) -> int:
        return len(self.size)

    def select(self, rows: Bools) -> Ranks:
        """The requests of a (R,) mask, numbered anew."""
        kept = rows[self.request]
        renumbered = np.cumsum(rows) - 1
        return Ranks(
            renumbered[self.request[kept]],
            self.item[kept],
            self.above[kept],
            self.tied[kept],
            self.size[rows],
            self.cold[kept],
            self.seen[kept],
        )

    def without_cold(self) -> tuple[Ranks, Bools]:
        """Without cold targets, and without the requests that had no other: (ranks, (R,) mask of the requests kept)."""
        return self.keeping(~self.cold)

    def keeping(self, targets: Bools) -> tuple[Ranks, Bools]:
        """The targets of a (T,) mask, without the requests that have none: (ranks, (R,) mask of requests kept)."""
        size = np.bincount(self.request[targets], minlength=len(self))
        fewer = Ranks(
            self.request[targets],
            self.item[targets],
            self.above[targets],
            self.tied[targets],
            size,
            self.cold[targets],
            self.seen[targets],
        )
        return fewer.select(size > 0), size > 0


def rank_targets(
    model: Recommender,
    data: Histories,
    part: Part,
    seen: str,
    candidates: Bools | None = None,
    progress: Progress | None = None,
    on_scores: OnScores | None = None,
) -> Ranks:
    """Rank every target of a part over the whole catalog.

    Args:
        data: the whole data set, in whose columns the part's positions lie. Items past the model's catalog are
            left out of the histories, and cold as targets.
        seen: "exclude" leaves out every item of a request's history, "include" ranks them too.
        candidates: (V + 1,) bool; the items seen in training by default.
    """
    allowed = model.items.candidates if candidates is None else candidates
    requests = known_only(part.requests(data), model.items.n)
    request, item = _distinct_targets(data, *part.targets(data))
    size = np.bincount(request, minlength=len(part)).astype(np.int64)
    pieces = chunks(len(part), model.items.n)
    # within a chunk large sets come first: the rows that have a j-th target are then the first ones
    order = np.lexsort((-size, np.repeat(np.arange(len(pieces)), [rows.stop - rows.start for rows in pieces])))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_place = np.argsort(place[request], kind="stable")
    bounds = np.concatenate([[0], np.cumsum(size[order])])
    above, tied = np.zeros(len(request), dtype=np.int64), np.zeros(len(request), dtype=np.int64)
    in_history = np.zeros(len(request), dtype=np.bool_)
    done: list[int] = []

    def rank(rows: slice) -> None:
        mine = by_place[bounds[rows.start] : bounds[rows.stop]]
        some = requests.select(order[rows])
        with torch.no_grad():
            scores = model.score(some)
            above[mine], tied[mine], in_history[mine] = _rank_chunk(
                scores,
                place[request[mine]] - rows.start,
                np.where(item[mine] > model.items.n, 0, item[mine]),
                some if seen == "exclude" else None,
                allowed,
            )
            if on_scores is not None:
                on_scores(order[rows], scores)
        done.append(rows.stop - rows.start)
        if progress is not None:
            progress(sum(done), len(part))

    with team(model.max_threads) as threads:
        threads.map(rank, pieces)
    cold = ~np.append(allowed, False)[np.minimum(item, len(allowed))]
    return Ranks(request, item, above, tied, size, cold, in_history & ~cold)


def _distinct_targets(data: Histories, rows: Ints, positions: Ints) -> tuple[Ints, Ints]:
    """(request, item) of each distinct target, sorted: two (T,) int64."""
    width = data.n_items + 1
    keys = distinct(rows * width + data.item[positions])
    return keys // width, keys % width


def _rank_chunk(
    scores: Tensor, row: Ints, item: Ints, history: Histories | None, allowed: Bools
) -> tuple[Ints, Ints, Bools]:
    """(above, tied, in the excluded history) of each target; `scores` gets -inf where nothing may be recommended.

    `row` ascends, and rows with more targets come first.
    """
    at = (torch.from_numpy(row).to(scores.device), torch.from_numpy(item).to(scores.device))
    own = scores[at]
    scores[at] = 0.0  # a mark: what masking the history changes to -inf was in the history
    mask_scores(scores, history, np.ones_like(allowed))
    in_history = torch.isneginf(scores[at])
    scores[at] = torch.where(in_history, -torch.inf, own)
    mask_scores(scores, None, allowed)
    own = scores[at]
    size = np.bincount(row, minlength=len(scores))
    column = np.arange(len(row)) - (np.cumsum(size) - size)[row]
    targets = torch.full((len(scores), int(size.max(initial=0))), torch.inf, device=scores.device)
    targets[at[0], torch.from_numpy(column).to(scores.device)] = own.float()
    counted = _count(scores, targets, size) if scores.device.type == "cpu" else count_sorted(scores, targets)
    above, tied = (counts[row, column] for counts in counted)
    miss = torch.isneginf(own).cpu().numpy()  # a score of -inf is never recommended
    above[miss], tied[miss] = 0, 0
    return above, tied, in_history.cpu().numpy()


def _count(scores: Tensor, targets: Tensor, size: Ints) -> tuple[Ints, Ints]:
    """How many of a row's scores are above, and how many equal, each of its targets' scores: two (rows, S) int64.

    Args:
        targets: (rows, S) scores of each row's targets, padded on the right.
        size: (rows,) targets of each row, descending.
    """
    above, tied = np.zeros(targets.shape, dtype=np.int64), np.zeros(targets.shape, dtype=np.int64)
    block = max(1, _BLOCK // scores.shape[1])
    for first in range(0, len(scores), block):
        rivals = scores[first : first + block]
        for j in range(int(size[first])):
            n = int((size[first : first + block] > j).sum())
            own = targets[first : first + n, j, None]
            above[first : first + n, j] = _true(rivals[:n] > own)
            tied[first : first + n, j] = _true(rivals[:n] == own)
    return above, tied


def _true(hits: Tensor) -> Ints:
    """True values of each row: (rows,) int64."""
    counts: Ints = np.count_nonzero(hits.numpy(), axis=1)
    return counts


def count_sorted(scores: Tensor, targets: Tensor) -> tuple[Ints, Ints]:
    """The same as `_count`, each row sorted once: a GPU would wait for the launch of kernels target by target."""
    ordered, targets = scores.float().sort(dim=1).values, targets.contiguous()
    up_to = torch.searchsorted(ordered, targets, right=True)
    tied = up_to - torch.searchsorted(ordered, targets)
    return (scores.shape[1] - up_to).cpu().numpy(), tied.cpu().numpy()
