"""Teams of threads: order, errors, and PyTorch's own threads given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threadpoolctl import threadpool_info

from onward.threads import keep_to_threads, team


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 50])
def test_results_come_in_the_order_of_the_parts(parts: int) -> None:
    with team(3) as threads:
        assert threads.size == 3
        assert threads.map(lambda part: part * part, range(parts)) == [part * part for part in range(parts)]


def test_parts_run_at_the_same_time() -> None:
    everybody = threading.Barrier(4, timeout=20)
    with team(99) as threads:
        assert len(set(threads.map(lambda _: (everybody.wait(), threading.get_ident())[1], range(4)))) == 4


def test_threads_are_shared_out_and_given_back() -> None:
    with team(2) as threads:
        assert threads.size == 2
        assert torch.get_num_threads() == 2
        with threads.resting():
            assert torch.get_num_threads() == 4
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
    with team(2, small=True):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("failing", [0, 1, 7])
def test_an_error_of_any_part_is_raised_and_threads_come_back(failing: int) -> None:
    def work(part: int) -> None:
        if part == failing:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {failing}"), team(2) as threads:
        threads.map(work, range(8))
    assert torch.get_num_threads() == 4


def test_pytorchs_number_holds_in_a_new_thread_once_it_was_asked_for() -> None:
    def openmp() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["internal_api"] == "openmp"]

    def asked() -> list[int]:
        keep_to_threads()
        return openmp()

    torch.set_num_threads(7)
    with ThreadPoolExecutor(1) as new:
        assert 7 not in new.submit(openmp).result()
    with ThreadPoolExecutor(1) as new:
        assert 7 in new.submit(asked).result()
