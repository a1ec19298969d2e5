"""Feature-wise linear modulation (Perez et al. 2018) by an instruction, of low rank."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helmsight.policies.modules.transformer import Attention, FeedForward


class LowRankFilm(nn.Module):
    """x -> (1 + g(t)) * x + b(t), with g and b linear in a condition t through `rank` dimensions.

    One full map for each of g and b costs CogVLA 1.3 billion parameters; a few instructions span
    few dimensions. Starts as the identity.
    """

    def __init__(self, condition_width: int, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(condition_width, rank, bias=False)
        self.up = nn.Linear(rank, 2 * width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens [B, N, D] and condition [B, C] -> [B, N, D]."""
        # [B, C] -> [B, 1, 2D] -> 2 x [B, 1, D]
        gain, bias = self.up(self.down(condition)).unsqueeze(1).chunk(2, dim=2)
        return torch.addcmul(bias, tokens, 1.0 + gain)


class FilmBlock(nn.Module):
    """Pre-norm block with the modulation between attention and feed-forward, as in CogVLA's EFA.

        x'  = x + Attn(LN x)
        x'' = (1 + g(t)) * x' + b(t)
        out = x'' + MLP(LN x'')

    Without a condition's width there is no modulation: an ordinary block.
    """

    def __init__(self, width: int, heads: int, condition_width: int | None, rank: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.film = None if condition_width is None else LowRankFilm(condition_width, width, rank)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, tokens: Tensor, condition: Tensor, first: int = 0) -> Tensor:
        """Tokens [B, N, D] -> [B, N - first, D]: what comes of the tokens from `first` on.

        All N are attended to; those before `first` are not carried on, and cost no more than that.
        """
        normed = self.attention_norm(tokens)
        carried = tokens[:, first:] + self.attention(normed[:, first:], normed)
        if self.film is not None:
            carried = self.film(carried, condition)
        return carried + self.feed_forward(self.feed_forward_norm(carried))
