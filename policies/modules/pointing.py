"""Pointing: a map over each camera's patches of where the thing is that the instruction names.

One map for the thing and one for its place. A patch is scored by how well it fits the instruction,
the same way wherever it lies, so that what was learned of a thing at one place serves at all; what
a vision encoder gathers into a few tokens has to be learned place by place. The maps are trained by
where the thing and its place are projected to. A token of each goes on: what it points at, and
where that is in the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAPS = 2  # of the thing, and of its place
# Spread of a target over the patches around it: in training pictures are shifted by up to 0.4.
_SPREAD = 0.6
# Half waves across the picture by which a token tells its place, finer and finer.
_WAVES = (1.0, 2.0, 4.0)


class Pointing(nn.Module):
    """Patches and an instruction -> scores [B, C, M, N]; 0 is the score of pointing nowhere, for
    the thing may be out of a camera's sight.

    A patch's score has two parts. One is from what the patch itself shows, before anything has been
    asked: it can be had for any number of instructions at once, and is trained for all that a scene
    allows. The other is from what the encoder has made of the patch, told the instruction.
    rows, columns: of the patches.
    """

    middles: Tensor

    def __init__(
        self, width: int, condition_width: int, rows: int, columns: int, channels: int = 64
    ) -> None:
        super().__init__()
        middles = patch_middles(rows, columns) / torch.tensor([columns, rows])
        self.register_buffer("middles", middles, persistent=False)  # [N, 2]
        self.shown = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels)
        )
        self.told = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
        self.query = nn.Sequential(
            nn.Linear(condition_width, 128), nn.ReLU(), nn.Linear(128, 2 * MAPS * (channels + 1))
        )
        self.scale = channels**-0.5
        self.place = nn.Linear(3 + 4 * len(_WAVES), width)
        self.token_embedding = nn.Parameter(0.5 * torch.randn(MAPS, width))

    def forward(self, shown: Tensor, told: Tensor, condition: Tensor) -> Tensor:
        """Patches [B, C, N, D] as they look, and told the instruction [B, T]."""
        first, second = self._queries(condition.unsqueeze(1))  # one instruction each
        scores = self._scores(self.shown(shown), first) + self._scores(self.told(told), second)
        return scores.squeeze(2)  # [B, C, 1, M, N] -> [B, C, M, N]

    def scores_of_any(self, shown: Tensor, conditions: Tensor) -> Tensor:
        """The first part for I instructions each: [B, C, N, D], [B, I, T] -> [B, C, I, M, N]."""
        return self._scores(self.shown(shown), self._queries(conditions)[0])

    def _queries(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """For each part [B, I, M, K + 1]; the last entry is the bias towards or against nowhere."""
        first, second = self.query(conditions).unflatten(2, (2, MAPS, -1)).unbind(2)
        return first, second

    def _scores(self, keys: Tensor, queries: Tensor) -> Tensor:
        scores = torch.einsum("bcnk,bimk->bcimn", keys, queries[..., :-1]) * self.scale
        return scores + queries[:, None, ..., -1:]

    def tokens(self, patches: Tensor, scores: Tensor) -> Tensor:
        """What is pointed at: patches [B, C, N, D] and scores [B, C, M, N] -> [B, C, M, D]."""
        shares = pointed_shares(scores)
        here, nowhere = shares[..., :-1], shares[..., -1:]
        place = 2.0 * self.places(scores) - 1.0
        angles = torch.cat([torch.pi / 2.0 * wave * place for wave in _WAVES], dim=-1)
        told = torch.cat([place, nowhere, angles.sin(), angles.cos()], dim=-1)
        return here @ patches + self.place(told) + self.token_embedding

    def places(self, scores: Tensor) -> Tensor:
        """Column and row [B, C, M, 2] of what is pointed at, 0 to 1 from the upper left corner.

        Given that it is seen at all: the mean over the patches by their scores [B, C, M, N].
        """
        return scores.softmax(dim=-1) @ self.middles


def patch_middles(rows: int, columns: int) -> Tensor:
    """Column and row [N, 2] of each patch's middle, in units of patches, row by row."""
    row, column = torch.meshgrid(
        torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij"
    )
    return torch.stack([column, row], dim=-1).flatten(0, 1)  # [rows, columns, 2] -> [N, 2]


def pointed_shares(scores: Tensor) -> Tensor:
    """Shares [B, C, M, N + 1] of scores [B, C, M, N], the last one that of nowhere."""
    return _with_nowhere(scores).softmax(dim=-1)


def pointing_loss(scores: Tensor, places: Tensor, middles: Tensor) -> Tensor:
    """Divergence (KL, nats) [B, C, M] of the shares from their targets.

    scores: [B, C, M, N]. places: column and row [B, C, M, 2] in units of patches from the picture's
    upper left corner of what is to be pointed at, NaN where a camera does not see it: the target is
    nowhere then. middles: of the patches [N, 2], as `patch_middles` gives them.
    """
    seen = torch.isfinite(places).all(dim=-1, keepdim=True)  # [B, C, M, 1]
    distance = (places.nan_to_num().unsqueeze(3) - middles).square().sum(dim=-1)  # [B, C, M, N]
    shares = (-distance / (2.0 * _SPREAD**2)).softmax(dim=-1) * seen
    target = torch.cat([shares, (~seen).to(shares.dtype)], dim=-1)  # [B, C, M, N + 1]
    logarithm = _with_nowhere(scores).log_softmax(dim=-1)
    divergence = torch.xlogy(target, target) - target * logarithm
    return divergence.sum(dim=-1)


def _with_nowhere(scores: Tensor) -> Tensor:
    return torch.cat([scores, torch.zeros_like(scores[..., :1])], dim=-1)
