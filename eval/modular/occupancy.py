"""What was seen to stand where, gathered over time in the frame of the target slot.

Log odds of occupancy in a grid of cells (Moravec & Elfes 1985; Thrun et al. 2005, chapter 9). The
frame is the tracked target's: its origin is the rear axle of the parked car, x points to its front.
It stays with the lot as far as the target is tracked well, so what leaves the field of view is not
forgotten, and what is seen anew moves with the tracker's drift, not against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import RANGE
from helmsight.envs.parking.expert.footprint import GridClearance
from helmsight.envs.parking.vehicle import EGO

_SURE = 1e-3  # probabilities are kept so far from 0 and 1


@dataclass(frozen=True)
class OccupancyConfig:
    """How pictures become a map.

    half_extent, cell: of the map about the target, in metres. weight: share of a picture's log odds
    that counts, because pictures 0.1 s apart are hardly independent. most: bound of a cell's log
    odds; the smaller, the faster the map follows what is seen. threshold: probability from which on
    a cell is occupied; above a half, so that what was never seen is free.
    """

    half_extent: float = 20.0
    cell: float = 0.1
    weight: float = 0.5
    most: float = 3.0
    threshold: float = 0.6

    def __post_init__(self) -> None:
        if not (self.half_extent > 0.0 and 0.0 < self.cell < self.half_extent):
            raise ValueError(f"the map needs 0 < cell < half_extent, got {self}")
        if not (self.weight > 0.0 and self.most > 0.0):
            raise ValueError(f"weight and most must be above 0, got {self}")
        if not 0.5 < self.threshold < 1.0:
            raise ValueError(f"threshold must lie between 0.5 and 1, got {self.threshold}")
        if _log_odds(self.threshold) >= self.most:
            raise ValueError(f"no cell could reach the threshold with log odds bound to {self}")


class OccupancyGrid:
    """The map of one episode; begins empty, which means free."""

    def __init__(self, config: OccupancyConfig) -> None:
        self.config = config
        self._cells = round(2.0 * config.half_extent / config.cell)
        self._log_odds = np.zeros((self._cells, self._cells), np.float32)

    def add(self, probability: NDArray[np.float32], car: Pose) -> None:
        """Take in how probably the cells around the car are occupied.

        probability: [n, n] over +-10 m in the vehicle frame, row 0 farthest forward, column 0
        farthest left. car: the rear axle's pose in the target's frame. The ground under the car is
        free: it stands there.
        """
        size = (self._cells, self._cells)
        seen = self.config.weight * _log_odds(np.asarray(probability, np.float32))
        transform = self._picture_to_map(len(probability), car)[:2]
        self._log_odds += cv2.warpAffine(seen, transform, size, flags=cv2.INTER_LINEAR)
        np.clip(self._log_odds, -self.config.most, self.config.most, out=self._log_odds)
        body = self._to_cells(EGO.footprint(car).corners())
        under = np.round(body * 16.0).astype(np.int32)
        cv2.fillConvexPoly(self._log_odds, under, -self.config.most, shift=4)

    def occupied(self) -> NDArray[np.bool_]:
        """Which cells [rows along y, columns along x] are taken to be occupied."""
        return np.asarray(self._log_odds >= _log_odds(self.config.threshold))

    def clearances(self) -> GridClearance:
        """Clearance of the car's body from what is occupied now, for poses in the map's frame."""
        free = np.asarray(~self.occupied(), np.uint8)
        corner = np.full(2, -self.config.half_extent)
        return GridClearance(free, corner, self.config.cell)

    def around(self, car: Pose, size: int) -> NDArray[np.uint8]:
        """The map as seen from the car: [size, size] over +-10 m, 1 where occupied."""
        occupied = self.occupied().astype(np.uint8)
        transform = self._picture_to_map(size, car)[:2]
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(occupied, transform, (size, size), flags=flags))

    def _to_cells(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [..., 2] in metres as (column, row), whole numbers at the middles of cells."""
        return (points + self.config.half_extent) / self.config.cell - 0.5

    def _picture_to_map(self, size: int, car: Pose) -> NDArray[np.float64]:
        """Affine transform [3, 3] from a picture's (column, row) to the map's."""
        step = 2.0 * RANGE / size
        edge = RANGE - step / 2.0
        to_vehicle = np.array([[0.0, -step, edge], [-step, 0.0, edge], [0.0, 0.0, 1.0]])
        cos, sin = np.cos(car.yaw), np.sin(car.yaw)
        to_target = np.array([[cos, -sin, car.x], [sin, cos, car.y], [0.0, 0.0, 1.0]])
        cell, half_extent = self.config.cell, self.config.half_extent
        shift = half_extent / cell - 0.5
        to_cells = np.array([[1.0 / cell, 0.0, shift], [0.0, 1.0 / cell, shift], [0.0, 0.0, 1.0]])
        return np.asarray(to_cells @ to_target @ to_vehicle)


def _log_odds(probability: NDArray[np.float32] | float) -> NDArray[np.float32]:
    bounded = np.clip(probability, _SURE, 1.0 - _SURE)
    return np.asarray(np.log(bounded / (1.0 - bounded)), np.float32)
