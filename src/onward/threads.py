"""Work in a few threads that each take a part of it from beginning to end.

PyTorch splits every single operation among its threads and waits for all of them before the next one: thousands of
meetings a second, each as late as the slowest thread. On a machine that does something else as well, that costs most
of the speed. Here a thread takes its share of a batch, or of the requests, through all operations, and they meet once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar, cast

import torch

In = TypeVar("In")
Out = TypeVar("Out")


class Team:
    """Threads that share out PyTorch's own: with 8 of those, a team of 4 has 2 in each, or 1 if the work is small.

    Attributes:
        size: threads, the calling one among them.
    """

    def __init__(self, limit: int, small: bool) -> None:
        self._all = torch.get_num_threads()
        self.size = max(1, min(limit, self._all))
        self._each = 1 if small else self._all // self.size
        self._others = ThreadPoolExecutor(self.size - 1, "onward") if self.size > 1 else None

    def map(self, function: Callable[[In], Out], parts: Sequence[In]) -> list[Out]:
        """The function of every part, in order. Raises what the first failing part raised."""
        if self._others is None:
            return [function(part) for part in parts]
        results: list[Out | None] = [None] * len(parts)
        waiting = iter(range(len(parts)))  # next() on it is one step for the interpreter, so no part is taken twice

        def work() -> None:
            for number in waiting:
                results[number] = function(parts[number])

        others = [self._others.submit(work) for _ in range(min(self.size, len(parts)) - 1)]
        try:
            work()
        finally:
            wait(others)  # so that nothing runs on after an error
        for other in others:
            other.result()
        return cast(list[Out], results)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside, PyTorch has all its threads back."""
        _set_threads(self._all)
        try:
            yield
        finally:
            _set_threads(self._each)


@contextmanager
def team(limit: int, small: bool = False) -> Iterator[Team]:
    """A team of at most `limit` threads; PyTorch has its own number of threads back at the end."""
    threads = Team(limit, small)
    _set_threads(threads._each)
    try:
        yield threads
    finally:
        if threads._others is not None:
            threads._others.shutdown()
        _set_threads(threads._all)


def _set_threads(count: int) -> None:
    """Setting it, even to the same number, makes oneDNN forget the kernels that it has built: a millisecond's work."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def keep_to_threads() -> None:
    """Make PyTorch's number of threads hold in the calling thread; cheap, so that it can be called at every entrance.

    OpenMP keeps a number for each thread. Until PyTorch was asked for its own in a new one, matrix products there take
    every core, and leave threads behind that spin between two of them.
    """
    torch.get_num_threads()
