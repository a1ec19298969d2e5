"""Orientations given as axis times angle, as numbers that do not jump."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_columns(rotation: Tensor) -> Tensor:
    """Axis-angle vectors [B, 3] in radians -> first two columns of the rotation matrix, [B, 6].

    Near half a turn, where a gripper that points down always is, axis and angle change their sign
    between neighbouring orientations; the matrix does not (Zhou et al. 2019, "On the continuity of
    rotation representations"). By Rodrigues' formula R = I + sin(a)/a K + (1 - cos(a))/a^2 K^2.
    """
    angle = rotation.norm(dim=1, keepdim=True)  # [B, 1]
    sine = torch.sinc(angle / torch.pi)  # sin(a) / a
    cosine = 0.5 * torch.sinc(angle / (2.0 * torch.pi)).square()  # (1 - cos(a)) / a^2
    x, y, z = rotation.split(1, dim=1)
    first = [1.0 - cosine * (y * y + z * z), cosine * x * y + sine * z, cosine * x * z - sine * y]
    second = [cosine * x * y - sine * z, 1.0 - cosine * (x * x + z * z), cosine * y * z + sine * x]
    return torch.cat(first + second, dim=1)
