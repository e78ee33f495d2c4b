"""Where models run."""

from __future__ import annotations

import pytest
import torch

from onward.device import VARIABLE, compute_device, reproducible
from onward.errors import ConfigError


def test_the_processor_is_used_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute_device() == torch.device("cpu")
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(ConfigError, match="sees no GPU"):
        compute_device()


def test_a_gpu_is_used_unless_the_user_decides_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert compute_device() == torch.device("cuda")
    monkeypatch.setenv(VARIABLE, "cpu")
    assert compute_device() == torch.device("cpu")


def test_an_unknown_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "gpu")
    with pytest.raises(ConfigError, match="'gpu' is no device"):
        compute_device()


def test_only_a_gpu_is_told_to_be_reproducible() -> None:
    assert torch.utils.deterministic.fill_uninitialized_memory
    with reproducible(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    with reproducible(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
