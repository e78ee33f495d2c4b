"""Arrays of whole numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onward.data.arrays import distinct


@given(st.lists(st.integers(-5, 5), max_size=30))
def test_different_numbers_ascend(numbers: list[int]) -> None:
    given = np.array(numbers, dtype=np.int32)
    found = distinct(given)
    assert found.tolist() == sorted(set(numbers))
    assert found.dtype == np.int32
    assert given.tolist() == numbers
