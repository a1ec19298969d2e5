"""How far maps move: between consecutive frames, the ego motion taken out, or between appearances.

Maps lie on a square grid around the vehicle: x forward, y left, row 0 the farthest forward, column
0 the farthest left (`policies.modules.birds_eye.Grid`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.policies.explainable import as_distribution
from helmsight.policies.modules.birds_eye import Grid

DIRECTIONS = 16


def cell_centers(grid: Grid) -> Tensor:
    """Centres [N, 2] of the cells (x, y) in metres, row by row."""
    return torch.tensor(grid.centers(), dtype=torch.float64)


def ego_motion(before: Pose, now: Pose) -> Pose:
    """The vehicle's pose now in the frame of the vehicle before."""
    return before.relative(now)


class Warped(NamedTuple):
    """A map [N] as it would look now if what it shows stood still, and which cells it can say."""

    values: Tensor
    known: Tensor


def warp(values: Tensor, motion: Pose, grid: Grid) -> Warped:
    """A map [N] of the frame before, seen from a vehicle that has moved by `motion` since.

    Each cell now takes the value of the place where it lay, interpolated; cells that lay outside
    the grid are unknown.
    """
    centers = cell_centers(grid)
    cos, sin = math.cos(motion.yaw), math.sin(motion.yaw)
    x = motion.x + cos * centers[:, 0] - sin * centers[:, 1]
    y = motion.y + sin * centers[:, 0] + cos * centers[:, 1]
    # grid_sample's axes: first the column (y = +extent is -1), then the row (x = +extent is -1).
    place = torch.stack([-y, -x], dim=1) / grid.extent
    sampled = functional.grid_sample(
        values.double().view(1, 1, grid.size, grid.size),
        place.view(1, grid.size, grid.size, 2),
        padding_mode="border",
        align_corners=False,
    )
    known = place.abs().amax(dim=1) <= 1.0
    return Warped(sampled.flatten(), known)


def total_variation(first: Tensor, second: Tensor) -> Tensor:
    """Half the absolute difference of distributions [..., N]: 0 equal, 1 apart."""
    return (first - second).abs().sum(dim=-1) / 2.0


class Compared(NamedTuple):
    """How far a map is from the one before it once the ego motion is taken out."""

    variation: float
    transport: float


def compare_warped(before: Tensor, now: Tensor, motion: Pose, grid: Grid) -> Compared:
    """A map [N] against the one before, warped, over the cells known in both; nan where none is.

    Interpolation spreads what is narrower than the cells, which counts as a change of its own.
    """
    warped = warp(before, motion, grid)
    if not bool(warped.known.any()):
        return Compared(math.nan, math.nan)
    places = cell_centers(grid)[warped.known]
    first = as_distribution(warped.values[warped.known])
    second = as_distribution(now.cpu().double()[warped.known])
    variation = float(total_variation(first, second))
    return Compared(variation, transport_distance(first, places, second, places))


def transport_distance(
    first: Tensor, first_places: Tensor, second: Tensor, second_places: Tensor
) -> float:
    """Sliced 1-Wasserstein distance in metres of weights [N] at places [N, 2].

    The mean over directions of the exact distance of the projections (after Bonneel et al. 2015),
    times pi / 2, so that moving everything by one vector gives that vector's length.
    """
    angles = (torch.arange(DIRECTIONS, dtype=torch.float64) + 0.5) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()])  # [2, L]
    places = torch.cat([first_places, second_places]).double() @ directions  # [2 N, L]
    weights = torch.cat([first.cpu().double(), -second.cpu().double()])  # [2 N]
    ordered, order = places.sort(dim=0)
    surplus = weights[order].cumsum(dim=0)[:-1]  # mass that is still to be carried on
    return float((surplus.abs() * ordered.diff(dim=0)).sum(dim=0).mean() * math.pi / 2.0)
