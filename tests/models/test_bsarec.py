"""BSARec's filter against a Fourier transform of each row, and its block against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.models.base import Items, build
from onward.models.bsarec import BSARec, FrequencyBlock, low_waves


@pytest.mark.parametrize("cutoff", [1, 2, 3, 5, 8])
def test_the_waves_are_the_low_pass_of_each_rows_own_fourier_transform(cutoff: int) -> None:
    lengths = torch.tensor([1, 2, 3, 4, 5, 6, 7, 11, 40, 200])
    x = torch.randn(10, 200, 3, generator=torch.Generator().manual_seed(0))
    waves = low_waves(lengths, 200, cutoff)
    low = waves @ (waves.mT @ x)
    for row, length in enumerate(lengths.tolist()):
        spectrum = torch.fft.rfft(x[row, :length], dim=0, norm="ortho")
        spectrum[cutoff // 2 + 1 :] = 0
        wanted = torch.fft.irfft(spectrum, n=length, dim=0, norm="ortho")
        torch.testing.assert_close(low[row, :length], wanted, rtol=1e-4, atol=1e-5)
        assert (low[row, length:] == 0).all()


def test_a_block_by_the_formula() -> None:
    torch.manual_seed(0)
    block = FrequencyBlock(BSARec.Config(width=6, dropout=0, alpha=0.3, cutoff=3))
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 5, 6)
    spectrum = torch.fft.rfft(x, dim=1)
    spectrum[:, 2:] = 0
    low = torch.fft.irfft(spectrum, n=5, dim=1)
    query, key, value = block.query_key_value(x).chunk(3, dim=2)
    scores = (query @ key.mT / 6**0.5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    attended = block.attention_norm(x + block.project(scores.softmax(2) @ value))
    mixed = 0.3 * block.filter_norm(x + low + block.gain**2 * (x - low)) + 0.7 * attended
    wanted = block.forward_norm(mixed + block.narrow(torch.nn.functional.gelu(block.widen(mixed))))
    torch.testing.assert_close(block(x, low_waves(torch.tensor([5]), 5, 3)), wanted)


def test_the_filter_lets_early_states_see_later_events() -> None:
    # why it trains on prefixes only: were this false, so would be the trait
    torch.manual_seed(0)
    model = build(BSARec, {"width": 8, "cutoff": 1}, Items(np.arange(10), np.arange(10, dtype=np.int32)))
    torch.nn.init.constant_(model.blocks[0].gain, 2)
    model.eval()

    def first_state(last: int) -> torch.Tensor:
        steps = Steps(Histories.from_lists([[1, 2, 3, last]], 9))
        return model.states(steps.encode(steps.start, steps.end))[0]

    assert not torch.allclose(first_state(4), first_state(5))
