"""What friends did lately, taken into a user's state by attention over them.

    fused = h + sigmoid(G [h; c]) * c        c = sum over friends f of a_f (V n_f)
    a = softmax over friends of (Q h) (K n_f) / sqrt(D) + log w_f        n_f = LayerNorm(m_f)

where h is the state that a list is asked from, m_f the mean of the item vectors of friend f's recent events and w_f the
weight of the link. After DGRec (Song et al.: "Session-based Social Recommendation via Dynamic Graph Attention
Networks", WSDM 2019, arXiv:1902.09362), where the interests of friends come from networks of their own; a mean needs
none, so that friends cost little and any encoder can be used. A state without friends stays what it is.

Legend: S states, W friends' windows of events, F friends of one state, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models import noise


class FriendAttention(nn.Module):
    """Attention of states over what friends did.

    Args:
        width: D.
        rate: share of the states that are left without friends in training.
    """

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(2 * width, width)
        with torch.no_grad():
            for part in (self.query, self.key, self.value):
                nn.init.xavier_uniform_(part.weight)
            self.gate.weight.zero_()
            self.gate.bias.zero_()

    def forward(self, states_SD: Tensor, means_WD: Tensor, places_SF: Tensor, weights_SF: Tensor) -> Tensor:
        """(S, D) states with their friends.

        Args:
            places_SF: 1 + the window of each friend, 0 for none. weights_SF: of the links, above 0 where there is one.
        """
        there_SF = places_SF > 0
        if self.training and self.rate > 0:
            drawn = torch.rand(len(states_SD), generator=noise.generator())
            there_SF = there_SF & (drawn >= self.rate).to(there_SF.device)[:, None]
        normal_WD = self.norm(means_WD)
        keys_SFD = F.pad(self.key(normal_WD), (0, 0, 1, 0))[places_SF]
        values_SFD = F.pad(self.value(normal_WD), (0, 0, 1, 0))[places_SF]
        fit_SF = torch.einsum("sd,sfd->sf", self.query(states_SD), keys_SFD) / math.sqrt(states_SD.shape[1])
        fit_SF = fit_SF + weights_SF.clamp(min=torch.finfo(torch.float32).tiny).log()
        share_SF = fit_SF.masked_fill(~there_SF, torch.finfo(fit_SF.dtype).min).softmax(1) * there_SF
        said_SD = torch.einsum("sf,sfd->sd", share_SF, values_SFD)
        return states_SD + torch.sigmoid(self.gate(torch.cat([states_SD, said_SD], 1))) * said_SD
