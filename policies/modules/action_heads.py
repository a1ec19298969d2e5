"""Heads that turn tokens into actions: parallel decoding of slots, or control tokens one by one."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.policies.modules.transformer import DecoderBlock


class GridSummary(nn.Module):
    """Grid tokens [B, N, D] read all at once, each at its own place -> [B, D].

    What to do about an obstacle depends on exactly where it is. A map from all places to a vector
    learns that from far fewer samples than attention, which has to find places by their codes.
    """

    def __init__(self, width: int, tokens: int, channels: int = 16, hidden: int = 256) -> None:
        super().__init__()
        self.reduce = nn.Linear(width, channels)
        self.mix = nn.Sequential(
            nn.Linear(tokens * channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.mix(self.reduce(tokens).flatten(1))  # [B, N, 16] -> [B, N * 16]
        return mixed


class ParallelDecoder(nn.Module):
    """Decodes a fixed number of slots in one pass (after ACT, Zhao et al. 2023, and OpenVLA-OFT).

    Each slot is a learned query plus the state's context; slots attend to each other in both
    directions and to the tokens.
    """

    def __init__(self, width: int, heads: int, layers: int, slots: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(slots, width) * 0.5)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens [B, N, D] and context [B, D] -> slots [B, S, D]."""
        slots = self.queries + context.unsqueeze(1)  # [S, D] + [B, 1, D] -> [B, S, D]
        for block in self.blocks:
            slots = block(slots, tokens)
        return self.norm(slots)


class FeedForwardReadOut(nn.Sequential):
    """Hidden layer and linear map from a slot to its values."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


class ControlTokenHead(nn.Module):
    """Autoregressive control tokens, as the published parking decoders use.

    Each entry of a normalised action in [-1, 1] is one of `bins` values (201: resolution 0.01).
    The sequence is steps x entries long and fixed, so no end-of-sequence or padding is needed.
    """

    values: Tensor

    def __init__(
        self, width: int, heads: int, layers: int, steps: int, entries: int, bins: int = 201
    ) -> None:
        super().__init__()
        self.steps, self.entries, self.bins = steps, entries, bins
        self.length = steps * entries
        self.embedding = nn.Embedding(bins + 1, width)  # the last one begins the sequence
        self.positions = nn.Parameter(torch.randn(self.length, width) * 0.1)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.read_out = nn.Linear(width, bins)
        self.register_buffer("values", torch.linspace(-1.0, 1.0, bins), persistent=False)

    def to_tokens(self, actions: Tensor) -> Tensor:
        """Normalised actions [B, K, A] in [-1, 1] -> tokens [B, K * A]."""
        index = ((actions.clamp(-1.0, 1.0) + 1.0) * 0.5 * (self.bins - 1)).round().long()
        return index.flatten(1)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Logits [B, T, bins] with teacher forcing: position t sees the targets before t."""
        begin = targets.new_full((targets.shape[0], 1), self.bins)
        shifted = torch.cat([begin, targets], dim=1)[:, : self.length]  # [B, <= T]
        sequence = self.embedding(shifted) + self.positions[: shifted.shape[1]]
        sequence = sequence + context.unsqueeze(1)
        for block in self.blocks:
            sequence = block(sequence, tokens, causal=True)
        return self.read_out(self.norm(sequence))

    def expected(self, logits: Tensor) -> Tensor:
        """Expected normalised actions [B, T] under the softmax."""
        return (logits.softmax(dim=2) * self.values).sum(dim=2)

    def decode(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Greedy decoding: normalised actions [B, K, A]."""
        chosen = torch.zeros(tokens.shape[0], 0, dtype=torch.long, device=tokens.device)
        for _ in range(self.length):
            logits = self(tokens, context, chosen)[:, -1]  # [B, bins]
            chosen = torch.cat([chosen, logits.argmax(dim=1, keepdim=True)], dim=1)
        # [B, K * A] -> [B, K, A]
        return self.values[chosen].view(-1, self.steps, self.entries)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy [B, T] of each token."""
        return functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
