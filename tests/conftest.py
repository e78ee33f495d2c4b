"""What all tests share: one thread, the data set that `make test` has fetched, a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import browser, open_page  # noqa: F401

# Read when torch and numpy are first loaded: with one thread, sums have one order and runs agree to the last bit.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

if TYPE_CHECKING:
    from onward.data.dataset import Dataset


@pytest.fixture(scope="session")
def ml100k() -> Path:
    """Folder with ml-100k.inter, .item and .user, from the cache; tests open no connection themselves."""
    from onward.data.datasets import cached_dataset

    folder = cached_dataset("ml-100k")
    if folder is None:
        pytest.skip("ml-100k is not in the cache: onward data get ml-100k")
    return folder


@pytest.fixture(scope="session")
def ml100k_dataset(ml100k: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """ml-100k, prepared."""
    from onward.data.prepare import prepare

    return prepare(ml100k, tmp_path_factory.mktemp("ml-100k") / "dataset")
