"""Pre-norm transformer blocks (Vaswani et al. 2017; pre-norm after Xiong et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of queries [B, Q, D] over a context [B, N, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the number of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, context: Tensor, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Each query [B, Q, D] over the context [B, N, D]: [B, Q, D].

        mask: [Q, N], 0 where a query sees and -inf where it does not; not together with `causal`.
        """
        batch, length, width = queries.shape
        # [B, Q, D] -> [B, H, Q, D/H]
        query = self.query(queries).view(batch, length, self.heads, -1).transpose(1, 2)
        # [B, N, 2D] -> 2 x [B, H, N, D/H]
        key, value = (
            self.key_value(context)
            .view(batch, context.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal
        )
        # [B, H, Q, D/H] -> [B, Q, D]
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))

    def weights(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """The softmax weights [B, H, Q, N] with which `forward` mixes the context, not causal."""
        batch, length, width = queries.shape
        size = width // self.heads
        # [B, Q, D] -> [B, H, Q, D/H]; of the keys and values [B, N, 2D] the keys alone
        query = self.query(queries).view(batch, length, self.heads, size).transpose(1, 2)
        key = self.key_value(context)[..., :width].view(batch, -1, self.heads, size).transpose(1, 2)
        scores = query @ key.transpose(2, 3) / size**0.5
        if mask is not None:
            scores = scores + mask
        return scores.softmax(dim=3)


@contextmanager
def recorded_weights(modules: Iterable[Attention]) -> Iterator[dict[Attention, Tensor]]:
    """Softmax weights [B, H, Q, N] of the last call of each module within the block."""
    weights: dict[Attention, Tensor] = {}

    def record(
        module: nn.Module, arguments: tuple[Tensor, ...], options: dict[str, Any], output: Tensor
    ) -> None:
        assert isinstance(module, Attention)
        weights[module] = module.weights(arguments[0], arguments[1], options.get("mask"))

    hooks = [module.register_forward_hook(record, with_kwargs=True) for module in modules]
    try:
        yield weights
    finally:
        for hook in hooks:
            hook.remove()


class FeedForward(nn.Sequential):
    """Two linear maps with a ReLU between them."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__(
            nn.Linear(width, expansion * width), nn.ReLU(), nn.Linear(expansion * width, width)
        )


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward over tokens [B, N, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class DecoderBlock(nn.Module):
    """Self-attention among queries, cross-attention to a context, feed-forward.

    The context is used as it comes: a normalisation here would undo the scale by which
    control-aided attention gates its tokens.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, queries: Tensor, context: Tensor, causal: bool = False) -> Tensor:
        normed = self.self_norm(queries)
        queries = queries + self.self_attention(normed, normed, causal=causal)
        queries = queries + self.cross_attention(self.cross_norm(queries), context)
        return queries + self.feed_forward(self.feed_forward_norm(queries))


def fixed_positions(rows: int, columns: int, width: int) -> Tensor:
    """Sine and cosine position code [rows * columns, width] of a grid, both axes alike."""
    if width % 4:
        raise ValueError(f"a two-dimensional position code needs a width divisible by 4: {width}")
    frequencies = torch.exp(torch.linspace(0.0, 1.0, width // 4) * -4.0) * torch.pi
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.reshape(-1, 1).float() * frequencies for axis in (row, column)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
