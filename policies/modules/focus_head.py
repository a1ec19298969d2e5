"""Where the thing is that the instruction is about, and where it goes, from the vision tokens.

An auxiliary task with a label from the simulator, whose prediction the decision reads: a few
hundred demonstrations show a thing at a few hundred places, and actions alone teach finding it
slowly. Depth and semantics do the same for parking.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Metres that an output of 1 stands for: about the reach of a motion's next part.
SCALE = 0.2
POSITIONS = 6  # two positions of three numbers


class FocusHead(nn.Module):
    """Tokens [B, N, D] and context [B, C, D] -> positions [B, 6] from the hand in units of 0.2 m.

    The two positions are the thing's and its place's, along the world's axes. All tokens are read
    at once, each at its own place.
    """

    def __init__(self, width: int, tokens: int, context: int, channels: int = 32) -> None:
        super().__init__()
        self.reduce = nn.Linear(width, channels)
        inputs = tokens * channels + context * width
        self.positions = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 6)
        )
        self.embed = nn.Sequential(nn.Linear(POSITIONS, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        reduced = self.reduce(tokens).flatten(1)  # [B, N, 32] -> [B, N * 32]
        found: Tensor = self.positions(torch.cat([reduced, context.flatten(1)], dim=1))
        return found

    def as_token(self, positions: Tensor) -> Tensor:
        """The positions [B, 6] as a token [B, 1, D] for whatever decides."""
        token: Tensor = self.embed(positions)
        return token.unsqueeze(1)  # [B, D] -> [B, 1, D]


def focus_label(focus: Tensor, hand: Tensor) -> Tensor:
    """What the head shall give: positions [B, 6] in the world seen from the hand's [B, 3]."""
    return (focus - hand.repeat(1, 2)) / SCALE
