"""Where in its slot the car should stand: in the middle, or aside when a neighbour intrudes."""

from __future__ import annotations

import numpy as np

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.vehicle import EGO

# Side clearance that a neighbour must leave before the car keeps to the middle.
SIDE_CLEARANCE = 0.35
# Success allows 0.6 m; the rest is for driving errors.
MAX_SHIFT = 0.45


def parking_goal(scenario: Scenario) -> Pose:
    """Rear-axle pose to park in, lot frame.

    It is shifted sideways from the slot's middle just so far that an intruding neighbour has
    `SIDE_CLEARANCE`, never past the middle of the free width nor by more than `MAX_SHIFT`.
    """
    left, right = side_clearances(scenario)
    shift = 0.0
    if min(left, right) < SIDE_CLEARANCE:
        needed = SIDE_CLEARANCE - min(left, right)
        shift = min(needed, abs(left - right) / 2.0, MAX_SHIFT)
    return scenario.target.transform(Pose(0.0, shift if left > right else -shift, 0.0))


def side_clearances(scenario: Scenario) -> tuple[float, float]:
    """Metres beside a car in the slot's middle, to its left and right, at most 2 m each."""
    target = scenario.target
    body_middle = target.transform(Pose(EGO.center_offset, 0.0, 0.0))
    strip = Rectangle(body_middle, EGO.length, EGO.width + 4.0)
    nearest = {1: 2.0, -1: 2.0}
    for obstacle in scenario.obstacles():
        if not obstacle.overlaps(strip):
            continue
        lateral = np.array([body_middle.relative(Pose(x, y, 0.0)).y for x, y in obstacle.corners()])
        side = 1 if lateral.mean() > 0.0 else -1
        gap = float((lateral * side).min()) - EGO.width / 2.0
        nearest[side] = min(nearest[side], gap)
    return nearest[1], nearest[-1]
