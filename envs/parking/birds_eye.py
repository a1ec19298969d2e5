"""Semantic bird's-eye labels from known poses.

Vehicle frame, +-10 m at 0.1 m a cell: [200, 200], row 0 the farthest forward (x = +10 m), column 0
the farthest left (y = +10 m). The centre of cell (row, column) is at
x = 10 - (row + 0.5) * 0.1, y = 10 - (column + 0.5) * 0.1.
Obstacles are parked cars, boxes and the medians.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.lot import Lot, Slot
from helmsight.envs.parking.scenario import Scenario

RANGE = 10.0
CELL = 0.1
SIZE = round(2.0 * RANGE / CELL)
BACKGROUND, OBSTACLE, TARGET_SLOT = 0, 1, 2
CLASSES = ("background", "obstacle", "target slot")

# fillConvexPoly takes fixed-point coordinates with this many fractional bits.
_SHIFT = 4


def slot_area(lot: Lot, slot: Slot) -> Rectangle:
    """The marked area of a slot, in the lot frame."""
    return Rectangle(Pose(slot.x, slot.y, slot.entry_yaw), lot.slot_length, lot.slot_width)


def medians(lot: Lot) -> list[Rectangle]:
    """The kerbed strips between rows that stand back to back, in the lot frame."""
    y = (lot.row_y(0) + lot.row_y(1)) / 2.0
    length = lot.columns * lot.slot_width
    return [Rectangle(Pose(0.0, side * y, 0.0), length, lot.median_width) for side in (1.0, -1.0)]


class BirdsEyeLabeller:
    """Draws the labels of one scenario around any pose of the car."""

    def __init__(self, scenario: Scenario) -> None:
        self._target = slot_area(scenario.lot, scenario.target_slot).corners()
        obstacles = [*scenario.obstacles(), *medians(scenario.lot)]
        self._obstacles = np.array([rectangle.corners() for rectangle in obstacles]).reshape(
            -1, 4, 2
        )  # [N, 4, 2]

    def label(self, rear_axle: Pose) -> NDArray[np.uint8]:
        """Class ids [200, 200] around a car with its rear axle at `rear_axle` (lot frame)."""
        image = np.full((SIZE, SIZE), BACKGROUND, np.uint8)
        # Obstacles last: a neighbour that stands into the target slot covers it.
        _fill(image, self._target[None], rear_axle, TARGET_SLOT)
        _fill(image, self._obstacles, rear_axle, OBSTACLE)
        return image


def _fill(
    image: NDArray[np.uint8], corners: NDArray[np.float64], rear_axle: Pose, value: int
) -> None:
    """Fill the quadrilaterals `corners` [N, 4, 2], given in the lot frame."""
    cos, sin = math.cos(rear_axle.yaw), math.sin(rear_axle.yaw)
    rotation = np.array([[cos, -sin], [sin, cos]])
    local = (corners - (rear_axle.x, rear_axle.y)) @ rotation  # [N, 4, 2] in the vehicle frame
    # cv2 wants (column, row) and takes whole numbers as the centres of pixels.
    pixels = (RANGE - local[..., ::-1]) / CELL - 0.5
    fixed = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
    lowest, highest = local.min(axis=1), local.max(axis=1)
    visible = ((highest > -RANGE) & (lowest < RANGE)).all(axis=1)
    for polygon in fixed[visible]:
        cv2.fillConvexPoly(image, polygon, value, lineType=cv2.LINE_8, shift=_SHIFT)
