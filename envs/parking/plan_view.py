"""A picture of the lot from above, and of what the cameras see beside it, for people to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.birds_eye import slot_area
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.vehicle import EGO

PIXELS_PER_METRE = 16
HALF_EXTENT = 16.0
SIZE = round(2.0 * HALF_EXTENT * PIXELS_PER_METRE)

_GROUND = (88, 88, 92)
_LINE = (200, 200, 200)
_TARGET = (70, 160, 80)
_BOX = (158, 120, 76)
_EGO = (60, 120, 220)
_EGO_NOSE = (200, 220, 250)


def draw_plan(scenario: Scenario, rear_axle: Pose) -> NDArray[np.uint8]:
    """The lot around the target slot, [512, 512, 3] RGB: x to the right, y upwards."""
    image = np.full((SIZE, SIZE, 3), _GROUND, np.uint8)
    centre = (scenario.target_slot.x, 0.0)
    _fill(image, slot_area(scenario.lot, scenario.target_slot), centre, _TARGET)
    for slot in scenario.lot.slots():
        corners = _to_pixels(slot_area(scenario.lot, slot).corners(), centre)
        cv2.polylines(image, [corners], True, _LINE, 1, cv2.LINE_AA)
    for car in scenario.cars:
        red, green, blue = (min(255, round(255 * part)) for part in car.colour)
        _fill(image, car.footprint(), centre, (red, green, blue))
    for box in scenario.boxes:
        _fill(image, box.footprint(), centre, _BOX)
    _fill(image, EGO.footprint(rear_axle), centre, _EGO)
    nose = rear_axle.transform(Pose(EGO.front - 0.4, 0.0, 0.0))
    _fill(image, Rectangle(nose, 0.6, EGO.width - 0.4), centre, _EGO_NOSE)
    return image


def draw_scene(
    scenario: Scenario, rear_axle: Pose, camera_images: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """The plan with the camera images [H, W, 3] in two columns to its right, if there are any."""
    plan = draw_plan(scenario, rear_axle)
    if not camera_images:
        return plan
    rows = math.ceil(len(camera_images) / 2)
    side = SIZE // rows
    mosaic = np.zeros((SIZE, 2 * side, 3), np.uint8)
    for position, image in enumerate(camera_images):
        top, left = (position // 2) * side, (position % 2) * side
        mosaic[top : top + side, left : left + side] = cv2.resize(image, (side, side))
    return np.concatenate([plan, mosaic], axis=1)


def _fill(
    image: NDArray[np.uint8],
    rectangle: Rectangle,
    centre: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    cv2.fillConvexPoly(image, _to_pixels(rectangle.corners(), centre), colour, cv2.LINE_AA)


def _to_pixels(points: NDArray[np.float64], centre: tuple[float, float]) -> NDArray[np.int32]:
    """Lot coordinates [N, 2] as (column, row) [N, 2]."""
    offset = (points - centre) * (PIXELS_PER_METRE, -PIXELS_PER_METRE) + SIZE / 2.0
    return np.round(offset).astype(np.int32)
