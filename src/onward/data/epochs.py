"""The batches of a training: which windows come together, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from onward.config import RequestTime, Windows
from onward.data.augment import Augmentation
from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.sequences import Histories, Ints
from onward.data.windows import cut_windows

BUCKET_BATCHES = 50
"""Windows are shuffled, then sorted by length within this many batches."""


class TrainingBatches:
    """Every epoch's batches, a pure function of (seed, epoch), so that a resumed run continues the same order.

    Args:
        histories: the training histories; windows without a target (those of fewer than two steps) are left out.
        max_length: longest input, in steps.
        tokens: input steps a batch holds, about.
        windows: as in `cut_windows`; with `prefix` the last step of a window is its only target.
        request_time: as in `Steps`.
        cloze: each step is its own target, for a model that hides steps itself.
        augmentation: what is done to the rows of a batch; steps are events, and there are no values.
        views: it is done to a second view of the batch instead (`Batch.view`).
        opens: as in `Steps`.
    """

    def __init__(
        self,
        histories: Histories,
        max_length: int,
        tokens: int,
        seed: int,
        windows: Windows = "last",
        request_time: RequestTime = "none",
        cloze: bool = False,
        augmentation: Augmentation | None = None,
        views: bool = False,
        opens: bool = False,
    ) -> None:
        self.steps = Steps(histories, request_time, opens)
        self.max_length, self.augmentation, self.views = max_length, augmentation, views
        self.tokens, self.seed, self.prefix, self.cloze = tokens, seed, windows == "prefix", cloze
        self.first, self.last = cut_windows(self.steps.start, self.steps.end, max_length, windows)
        targets = self.steps.predicted(self.last if self.prefix else self.first + 1, self.last)
        self.first, self.last = self.first[targets > 0], self.last[targets > 0]
        self.n_targets = int(targets.sum())

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._cut(0))

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Ints]:
        """The windows of each batch of one epoch, shorter ones first, without the first `skip` batches."""
        yield from self._cut(epoch)[skip:]

    def batch(self, windows: Ints, draw: Sequence[int] = ()) -> Batch:
        """The batch of some windows; augmentation is a pure function of the seed and `draw`."""
        first, last = self.first[windows], self.last[windows]
        if self.cloze:
            return self.steps.cloze(first, last)
        if self.augmentation is None:
            return self.steps.train(first, last, self.prefix)
        rng = np.random.default_rng([self.seed, *draw])
        if self.views:
            return replace(self.steps.train(first, last, self.prefix), view=self._augmented(first, last, True, rng))
        return self._augmented(first, last, self.prefix, rng)

    def _augmented(self, first: Ints, last: Ints, prefix: bool, rng: np.random.Generator) -> Batch:
        """With `prefix` the last step, the only target, stays what it is."""
        assert self.augmentation is not None
        rows = self.steps.rows(first, last - prefix, least=1 if prefix else 2)
        rows = self.augmentation.apply(rows, rng)
        if prefix:
            rows = rows.followed_by(self.steps.histories.item[last], last)
        return self.steps.augmented(rows.newest(self.max_length + 1), prefix)

    def parts(self, windows: Ints, n: int) -> list[Ints]:
        """The windows of a batch in at most `n` parts of about equally many steps; none is empty."""
        ends = np.cumsum(self.last[windows] - self.first[windows])
        part = np.ceil(ends / ends[-1] * n)
        return np.split(windows, np.flatnonzero(np.diff(part)) + 1)

    def _cut(self, epoch: int) -> list[Ints]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.first))
        lengths = (self.last - self.first)[order]
        bucket = np.cumsum(lengths) // (self.tokens * BUCKET_BATCHES)
        by_length = np.lexsort((lengths, bucket))
        batch = np.cumsum(lengths[by_length]) // self.tokens
        parts = np.split(order[by_length], np.flatnonzero(np.diff(batch)) + 1)
        return [parts[index] for index in rng.permutation(len(parts))]
