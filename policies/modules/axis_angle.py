"""Orientations given as axis times angle, as numbers that do not jump."""

from __future__ import annotations

import torch
from torch import Tensor

# The first two axes e one after the other, and for each entry of the cross products v x e what of v
# it is made of.
_AXES = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
_CROSSED = torch.tensor(
    [
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, -1.0, 0.0],
        [0.0, 0.0, -1.0],
        [0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0],
    ]
)


def rotation_columns(rotation: Tensor) -> Tensor:
    """Axis-angle vectors [B, 3] in radians -> first two columns of the rotation matrix, [B, 6].

    Near half a turn, where a gripper that points down always is, axis and angle change their sign
    between neighbouring orientations; the matrix does not (Zhou et al. 2019, "On the continuity of
    rotation representations"). By Rodrigues' formula, for a vector v of length a,
    R e = cos(a) e + sin(a)/a v x e + (1 - cos(a))/a^2 (v . e) v.
    """
    angle = rotation.norm(dim=1, keepdim=True)  # [B, 1]
    sine = torch.sinc(angle / torch.pi)  # sin(a) / a
    cosine = 0.5 * torch.sinc(angle / (2.0 * torch.pi)).square()  # (1 - cos(a)) / a^2
    # No matrix product, which mixed precision would round: [B, 1, 3] * [6, 3] -> [B, 6]
    crossed = (rotation[:, None, :] * _CROSSED.to(rotation)).sum(dim=2)
    along = (rotation[:, :2, None] * rotation[:, None, :]).flatten(1)  # [B, 2, 3] -> [B, 6]
    return angle.cos() * _AXES.to(rotation) + sine * crossed + cosine * along
