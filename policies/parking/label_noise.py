"""The label as eyes with a memory would give it: for what drives to learn from.

A driver that was only ever shown true labels takes every hole and every blot for real. Here edges
move, things that stand alone are missed, blots appear, the whole is turned a little, and what lies
far off was not seen yet. A fifth of the samples stays as it is.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from helmsight.policies.parking.semantics import OBSTACLE, TARGET_SLOT

_CLEAN_SHARE = 0.2
# Standard deviations: of the turn in radians, of the shift as a share of half a side, and of the
# bias on the probability of an obstacle, which changes over a coarse and over a fine grid.
_TURN, _SHIFT = 0.03, 0.012
_BIASES = ((8, 0.22), (24, 0.18))
# Regions a side in which lone things are missed, and the chance of it; those of blots.
_MISSED_REGIONS, _MISSED = 6, 0.12
_BLOT_REGIONS, _BLOTS, _BLOT_STRENGTH = 32, 0.002, 0.6
_LONE, _NEIGHBOURHOOD = 0.25, 7
# Shares of half a side beyond which nothing was seen yet: drawn from here to where all is seen.
_REACH = (0.7, 1.5)


def as_eyes_see(shares: Tensor, strength: float = 1.0) -> Tensor:
    """Class shares [B, 3, S, S] of a label, disturbed; what is disturbed is one class a cell.

    strength scales what is moved and biased; 0 leaves everything as it is.
    """
    batch, device = len(shares), shares.device
    disturbed = torch.rand(batch, 1, 1, 1, device=device) >= _CLEAN_SHARE
    disturbed = disturbed & (strength > 0.0)
    moved = _moved(shares, strength)
    occupied = _misjudged(moved[:, OBSTACLE : OBSTACLE + 1], strength) & _within_reach(shares)
    slot = (moved[:, TARGET_SLOT : TARGET_SLOT + 1] > 0.5) & ~occupied
    background = ~occupied & ~slot
    return torch.where(
        disturbed, torch.cat([background, occupied, slot], dim=1).to(shares.dtype), shares
    )


def _moved(shares: Tensor, strength: float) -> Tensor:
    batch, device = len(shares), shares.device
    angle = _TURN * strength * torch.randn(batch, device=device)
    shift = _SHIFT * strength * torch.randn(batch, 2, device=device)
    cos, sin = angle.cos(), angle.sin()
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    places = functional.affine_grid(torch.stack(rows, 1), list(shares.shape), align_corners=False)
    return functional.grid_sample(shares, places, padding_mode="border", align_corners=False)


def _misjudged(obstacle: Tensor, strength: float) -> Tensor:
    """Where an obstacle is taken to be, given its share [B, 1, S, S] in each cell."""
    bias = sum(strength * size * _field(obstacle, regions) for regions, size in _BIASES)
    around = functional.avg_pool2d(
        (obstacle > 0.5).to(obstacle.dtype), _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2
    )
    lone = (obstacle > 0.3) & (around < _LONE)
    missed = lone & _regions(obstacle, _MISSED_REGIONS, _MISSED)
    blots = _BLOT_STRENGTH * _regions(obstacle, _BLOT_REGIONS, _BLOTS).to(obstacle.dtype)
    smooth = functional.avg_pool2d(obstacle, 3, 1, 1)
    return (smooth + bias + blots > 0.5) & ~missed


def _within_reach(shares: Tensor) -> Tensor:
    """Cells [B, 1, S, S] that are nearer than what was seen yet, by the larger coordinate."""
    size = shares.shape[-1]
    axis = torch.linspace(-1.0, 1.0, size, device=shares.device).abs()
    far = torch.maximum(axis[:, None], axis[None])  # [S, S]
    reach = torch.empty(len(shares), 1, 1, 1, device=shares.device).uniform_(*_REACH)
    return far < reach


def _field(like: Tensor, regions: int) -> Tensor:
    """Smooth unit noise [B, 1, S, S]."""
    coarse = torch.randn(len(like), 1, regions, regions, device=like.device)
    size = list(like.shape[2:])
    return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


def _regions(like: Tensor, regions: int, chance: float) -> Tensor:
    """Squares drawn with a chance, as a mask [B, 1, S, S]."""
    drawn = torch.rand(len(like), 1, regions, regions, device=like.device) < chance
    size = math.ceil(like.shape[-1] / regions)
    grown = drawn.repeat_interleave(size, 2).repeat_interleave(size, 3)
    return grown[:, :, : like.shape[2], : like.shape[3]]
