"""How far the car's body is from anything it may not touch, from a distance transform."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.vehicle import EGO, VehicleGeometry

Floats = NDArray[np.float64]

CELL = 0.05  # of a scenario's map, in metres
# The map reaches so far beyond the start and the target along the aisle.
REACH = 9.0
_INSET = 0.4


def body_circles(vehicle: VehicleGeometry) -> tuple[Floats, Floats]:
    """Circles that make up the body's outline: centres [C, 2] in the vehicle frame, radii [C].

    Circles of 0.4 m touch the outline from inside, at most 0.45 m apart, so that between two of
    them less than 7 cm of the body stick out; the four corners are circles of radius 0.
    """
    back, front = -vehicle.rear + _INSET, vehicle.front - _INSET
    side = vehicle.width / 2.0 - _INSET
    along = np.linspace(back, front, math.ceil((front - back) / 0.45) + 1)
    across = np.linspace(-side, side, math.ceil(2.0 * side / 0.45) + 1)[1:-1]
    centers = [(x, y) for x in along for y in (-side, side)]
    centers += [(x, y) for y in across for x in (back, front)]
    corners = [
        (x, y)
        for x in (-vehicle.rear, vehicle.front)
        for y in (-vehicle.width / 2.0, vehicle.width / 2.0)
    ]
    radii = [_INSET] * len(centers) + [0.0] * len(corners)
    return np.array(centers + corners), np.array(radii)


class ClearanceField(Protocol):
    """What a planner asks of a world: how far the ego car's body is from what it may not touch."""

    def clearance(self, poses: Floats) -> NDArray[np.float32]:
        """Least distance [...] in m from the body at rear-axle poses [..., 3] to an obstacle."""

    def clearance_at(self, pose: Pose) -> float:
        """Clearance in m of the body with its rear axle at one pose."""


class GridClearance:
    """Clearance of the ego car's body in a grid of free and occupied cells.

    free: uint8 [rows, columns], 0 where occupied; rows along y, columns along x. cell: side in m.
    origin: [2], the lower corner in m of the cell that has `frame` cells before it along both axes.
    Beyond the grid the nearest cell of its edge counts.
    """

    def __init__(
        self, free: NDArray[np.uint8], origin: Floats, cell: float, frame: int = 0
    ) -> None:
        distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        self._height, self._width = free.shape
        self._origin, self._cell, self._frame = origin, cell, frame
        # An obstacle's edge lies up to half a cell nearer than its nearest cell's centre, and a
        # point lies up to half a cell's diagonal from its cell's centre.
        self._distance = (distance * cell - cell * math.sqrt(0.5)).astype(np.float32).ravel()
        self._centers, self._radii = body_circles(EGO)
        self._radii = self._radii.astype(np.float32)

    def clearance(self, poses: Floats) -> NDArray[np.float32]:
        """Least distance [...] in m from the body at rear-axle poses [..., 3] to an obstacle."""
        cos, sin = np.cos(poses[..., 2])[..., None], np.sin(poses[..., 2])[..., None]
        x, y = self._centers.T
        scale = 1.0 / self._cell
        column = (poses[..., 0, None] - self._origin[0] + cos * x - sin * y) * scale + self._frame
        row = (poses[..., 1, None] - self._origin[1] + sin * x + cos * y) * scale + self._frame
        columns = np.clip(column, 0, self._width - 1).astype(np.int32)
        rows = np.clip(row, 0, self._height - 1).astype(np.int32)
        return np.asarray((self._distance[rows * self._width + columns] - self._radii).min(axis=-1))

    def clearance_at(self, pose: Pose) -> float:
        """Clearance in m of the body with its rear axle at one pose."""
        return float(self.clearance(np.array(pose, np.float64)))


class ClearanceMap(GridClearance):
    """Clearance of the ego car's body in one scenario: cars, boxes, kerbs and the lot's edge."""

    def __init__(self, scenario: Scenario) -> None:
        lot = scenario.lot
        ends = (scenario.start.x, scenario.target.x)
        half_length = lot.half_length
        low = (max(min(ends) - REACH, -half_length), -_outer_kerb(lot))
        high = (min(max(ends) + REACH, half_length), _outer_kerb(lot))
        origin = np.array(low)
        columns, rows = (math.ceil((high[i] - low[i]) / CELL) for i in (0, 1))
        # A frame of one cell stands for what lies outside the map.
        free = np.zeros((rows + 2, columns + 2), np.uint8)
        free[1:-1, 1:-1] = 1
        y = origin[1] + (np.arange(rows + 2) - 0.5) * CELL
        kerb = lot.aisle_width / 2.0 + lot.slot_length
        free[np.abs(y) > kerb] = 0
        for obstacle in scenario.obstacles():
            corners = (obstacle.corners() - origin) / CELL + 0.5
            cv2.fillConvexPoly(free, np.round(corners * 16.0).astype(np.int32), 0, shift=4)
        super().__init__(free, origin, CELL, frame=1)


def _outer_kerb(lot: Lot) -> float:
    """Far edge of the kerbed medians behind the two rows that face the aisle."""
    return lot.aisle_width / 2.0 + lot.slot_length + lot.median_width
