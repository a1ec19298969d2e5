"""What was seen to stand where, gathered over time in the frame of the target slot.

Each cell holds the average of the probabilities with which pictures showed it occupied, the last
ones weighing most. Averaged, not multiplied as in a Bayesian grid (Moravec & Elfes 1985): pictures
0.1 s apart err alike, and what is faint but stays, as a box at 5 m, must not be ruled out by being
seen faintly often. The frame is the tracked target's: its origin is the rear axle of the parked
car, x points to its front. It stays with the lot as far as the target is tracked well, so what
leaves the field of view is not forgotten, and what is seen anew moves with the tracker's drift.
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


@dataclass(frozen=True)
class OccupancyConfig:
    """How pictures become a map.

    half_extent, cell: of the map about the target, in metres. newest: weight of the newest picture
    in a cell's average, once it was seen often; the larger, the faster the map follows.
    """

    half_extent: float = 20.0
    cell: float = 0.1
    newest: float = 0.08

    def __post_init__(self) -> None:
        if not (self.half_extent > 0.0 and 0.0 < self.cell < self.half_extent):
            raise ValueError(f"the map needs 0 < cell < half_extent, got {self}")
        if not 0.0 < self.newest <= 1.0:
            raise ValueError(f"newest must be above 0 and at most 1, got {self.newest}")


class OccupancyGrid:
    """The map of one episode; begins empty, which means free."""

    def __init__(self, config: OccupancyConfig) -> None:
        self.config = config
        self._cells = round(2.0 * config.half_extent / config.cell)
        self._probability = np.zeros((self._cells, self._cells), np.float32)
        self._pictures = np.zeros((self._cells, self._cells), np.float32)

    def add(self, probability: NDArray[np.float32], car: Pose) -> None:
        """Take in how probably the cells around the car are occupied.

        probability: [n, n] over +-10 m in the vehicle frame, row 0 farthest forward, column 0
        farthest left. car: the rear axle's pose in the target's frame. The ground under the car is
        free: it stands there.
        """
        picture = np.asarray(probability, np.float32)
        transform, size = self._picture_to_map(len(picture), car)[:2], self._probability.shape
        # The share of a cell that the picture covers fades over its edge.
        covered = cv2.warpAffine(np.ones_like(picture), transform, size, flags=cv2.INTER_LINEAR)
        shown = cv2.warpAffine(picture, transform, size, flags=cv2.INTER_LINEAR)
        self._pictures += covered
        weight = 1.0 / np.clip(self._pictures, 1.0, 1.0 / self.config.newest)
        self._probability += weight * (shown - covered * self._probability)
        body = self._to_cells(EGO.footprint(car).corners())
        cv2.fillConvexPoly(self._probability, np.round(body * 16.0).astype(np.int32), 0.0, shift=4)

    def occupied(self, threshold: float) -> NDArray[np.bool_]:
        """Cells [rows along y, columns along x] that are occupied with at least a probability."""
        return np.asarray(self._probability >= threshold)

    def clearances(self, threshold: float) -> GridClearance:
        """Clearance of the car's body from what is `occupied`, for poses in the map's frame."""
        free = np.asarray(~self.occupied(threshold), np.uint8)
        corner = np.full(2, -self.config.half_extent)
        return GridClearance(free, corner, self.config.cell)

    def around(self, car: Pose, size: int) -> NDArray[np.float32]:
        """The map as seen from the car: probabilities [size, size] over +-10 m."""
        transform = self._picture_to_map(size, car)[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(self._probability, transform, (size, size), flags=flags))

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
