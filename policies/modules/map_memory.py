"""What was seen to stand where, kept from decision to decision in the frame of the tracked target.

One set of pictures leaves blind sectors at the corners of a car, and a box that the car turns past
is gone from a map that is made of them. Here each cell of a map about the target holds the average
of the probabilities with which pictures showed it occupied, the last ones weighing most. Averaged,
not multiplied as in a Bayesian grid (Moravec & Elfes 1985): pictures 0.1 s apart err alike. What
stands right beside the car is remembered from farther off, where eyes see it better. An obstacle
is where one is seen or remembered.

The memory is a tensor that a decision is given and gives on, so whoever decides for several robots
keeps one of each. A memory of zeros knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from helmsight.envs.spec import CameraSpec
from helmsight.policies.modules.birds_eye import Grid, in_frame, in_picture

# What of a picture's outermost cells is left out: they are cut off.
EDGE = 0.2
HEIGHTS = (0.0, 0.6)


@dataclass(frozen=True)
class MapMemoryConfig:
    """How pictures become a map, and when it is given up.

    half_extent, cell: of the map about the target, in metres. newest: weight of the newest picture
    in a cell that was seen often. near: distance from the body, in metres, within which a picture
    is not taken in. jump_distance, jump_angle: metres and radians by which the target moves in the
    car's frame between two decisions only where another episode has begun.
    """

    enabled: bool = False
    half_extent: float = 16.0
    cell: float = 0.2
    newest: float = 0.2
    near: float = 1.0
    jump_distance: float = 2.5
    jump_angle: float = 0.6

    def __post_init__(self) -> None:
        if not (self.half_extent > 0.0 and 0.0 < self.cell < self.half_extent):
            raise ValueError(f"the memory needs 0 < cell < half_extent, got {self}")
        if not 0.0 < self.newest <= 1.0:
            raise ValueError(f"newest must be above 0 and at most 1, got {self.newest}")
        if self.near < 0.0:
            raise ValueError(f"near must be 0 or more, got {self.near}")


class Body(NamedTuple):
    """Outline of the car about its rear axle: metres ahead, behind, and its width."""

    front: float
    rear: float
    width: float


class Remembered(NamedTuple):
    """occupied [B, n, n] around the car, and the memory [B, M] to be given to the next decision.

    goes_on [B, 1]: 1 where the memory that was given is of this episode, else 0.
    """

    occupied: Tensor
    memory: Tensor
    goes_on: Tensor


class MapMemory(nn.Module):
    """Pictures around the car to what is remembered around the car.

    Pictures are [B, n, n] in the vehicle frame, row 0 farthest forward, column 0 farthest left. The
    map's rows run along the target's y, its columns along its x.
    """

    taken_in: Tensor
    places: Tensor
    around: Tensor

    def __init__(
        self, config: MapMemoryConfig, cameras: Sequence[CameraSpec], body: Body, picture: Grid
    ) -> None:
        super().__init__()
        self.config, self.extent = config, picture.extent
        self.side = round(2.0 * config.half_extent / config.cell)
        taken_in = cells_in_sight(cameras, picture) & ~cells_near(body, picture, config.near)
        self.register_buffer("taken_in", torch.tensor(taken_in).float(), persistent=False)
        axis = (torch.arange(self.side) + 0.5) * config.cell - config.half_extent
        along, across = torch.meshgrid(axis, axis, indexing="xy")  # [S, S] each
        self.register_buffer("places", torch.stack([along, across]), persistent=False)
        around = torch.tensor(picture.centers(), dtype=torch.float32)  # [n * n, 2]
        self.register_buffer("around", around, persistent=False)

    @property
    def size(self) -> int:
        """Numbers M in a memory: averages and counts of the map, and the target's pose."""
        return 2 * self.side**2 + 3

    def forward(self, occupied: Tensor, target: Tensor, memory: Tensor) -> Remembered:
        """occupied [B, n, n], target poses [B, 3] in the vehicle frame, memory [B, M]."""
        goes_on = self._goes_on(target, memory)
        memory = memory * goes_on
        cells = memory[:, :-3].unflatten(1, (2, self.side, self.side))  # [B, 2, S, S]
        average, seen = cells[:, 0], cells[:, 1]
        average, seen = self._take_in(occupied, target, average, seen)
        recalled = functional.grid_sample(
            average[:, None], self._in_map(target, occupied.shape[1:]), align_corners=False
        )[:, 0]  # [B, 1, n, n] -> [B, n, n]
        kept = torch.stack([average, seen], dim=1).flatten(1)  # [B, 2 S S]
        handed_on = torch.cat([kept, target], dim=1)
        return Remembered(torch.maximum(occupied, recalled), handed_on, goes_on)

    def about_target(self, memory: Tensor) -> Tensor:
        """The averages [B, S, S] in a memory: rows along the target's y, columns along its x."""
        return memory[:, : self.side**2].unflatten(1, (self.side, self.side))

    def _goes_on(self, target: Tensor, memory: Tensor) -> Tensor:
        """1 where the memory is of this episode, [B, 1]."""
        moved = target - memory[:, -3:]
        turned = torch.atan2(moved[:, 2].sin(), moved[:, 2].cos()).abs()
        near = torch.hypot(moved[:, 0], moved[:, 1]) < self.config.jump_distance
        return (near & (turned < self.config.jump_angle)).to(memory.dtype)[:, None]

    def _take_in(
        self, occupied: Tensor, target: Tensor, average: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Averages and counts [B, S, S] with one more picture in them."""
        x, y = self._in_car(target)  # [B, S, S]
        # grid_sample's axes: first the column (y = +extent is -1), then the row (x = +extent).
        places = torch.stack([-y, -x], dim=3) / self.extent
        picture = torch.stack([occupied, self.taken_in.expand_as(occupied)], dim=1)
        shown = functional.grid_sample(picture, places, align_corners=False)  # [B, 2, S, S]
        edge = self.extent - EDGE
        weight = shown[:, 1] * ((x.abs() < edge) & (y.abs() < edge)).to(shown.dtype)
        seen = (seen + weight).clamp(max=1.0 / self.config.newest)
        share = weight / seen.clamp(min=1.0)
        return average + share * (shown[:, 0] - average), seen

    def _in_car(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """The map's cells as x and y [B, S, S] in the vehicle's frame."""
        x, y, yaw = (entry[:, None, None] for entry in target.unbind(dim=1))  # [B, 1, 1]
        along, across = self.places
        cos, sin = yaw.cos(), yaw.sin()
        return x + cos * along - sin * across, y + sin * along + cos * across

    def _in_map(self, target: Tensor, size: Sequence[int]) -> Tensor:
        """Where in the map the cells around the car are, [B, n, n, 2], in grid_sample's units."""
        places = torch.stack(in_frame(self.around, target), dim=2)  # [B, n * n, 2]
        return places.unflatten(1, size) / self.config.half_extent


def cells_in_sight(cameras: Sequence[CameraSpec], grid: Grid) -> NDArray[np.bool_]:
    """Where some camera sees the ground and a box's middle height, and so all around, [n, n].

    What hides behind other things is not known here, and counts as seen.
    """
    cells = grid.centers()
    seen = np.ones(len(cells), np.bool_)
    for height in HEIGHTS:
        points = np.column_stack([cells, np.full(len(cells), height)])
        views = (in_picture(camera, points).seen for camera in cameras)
        seen &= np.any([np.zeros_like(seen), *views], axis=0)
    picture = seen.reshape(grid.size, grid.size).astype(np.uint8)
    return np.asarray(cv2.erode(picture, np.ones((3, 3), np.uint8), borderValue=1) > 0)


def cells_near(body: Body, grid: Grid, distance: float) -> NDArray[np.bool_]:
    """Cells [n, n] whose middles lie on the body or within a distance of it."""
    x, y = grid.centers().T
    ahead = np.maximum(np.maximum(x - body.front, -body.rear - x), 0.0)
    aside = np.maximum(np.abs(y) - body.width / 2.0, 0.0)
    return np.asarray(np.hypot(ahead, aside) <= distance).reshape(grid.size, grid.size)
