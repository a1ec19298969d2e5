"""The last metres into a slot: straight along its middle, small errors steered out on the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.cost_to_go import TURNING_RADIUS
from helmsight.envs.parking.expert.path import Arc, Path
from helmsight.envs.parking.expert.path_tracker import errors_after, feedback_curvature
from helmsight.envs.parking.simulator import VehicleState

# From nearer than this a car is driven straight in, if that leaves no more than these errors.
REACH = 2.0
LATERAL_ERROR, SLOPE_ERROR = 0.125, 0.026  # m, rad
# From this speed on, in m/s, a car drives in one direction rather than stands.
MOVING_SPEED = 0.03


class StraightIn(NamedTuple):
    """The line to follow, and the poses [T, 3] that following it leads through."""

    path: Path
    poses: NDArray[np.float64]


def straight_in(goal: Pose, direction: int, state: VehicleState) -> StraightIn | None:
    """The straight line into the goal, where tracking it ends in the goal; obstacles are not asked.

    A planner that has to end in the goal's very pose drives out and in again for a few centimetres.

    direction: 1 for a goal that is entered forwards, -1 in reverse.
    """
    error = goal.relative(state.pose)
    left, slope = -direction * error.x, direction * error.yaw
    too_sharp = abs(feedback_curvature(error.y, slope)) > 1.0 / TURNING_RADIUS
    drives_out = direction * state.speed < -MOVING_SPEED
    if not 0.0 < left < REACH or too_sharp or drives_out:
        return None
    driven = np.linspace(0.0, left, 12)
    lateral, slopes = errors_after(error.y, slope, driven)
    if abs(lateral[-1]) > LATERAL_ERROR or abs(slopes[-1]) > SLOPE_ERROR:
        return None
    errors = zip(error.x + direction * driven, lateral, direction * slopes, strict=True)
    poses = np.array([goal.transform(Pose(x, y, yaw)) for x, y, yaw in errors])
    start = goal.transform(Pose(error.x, 0.0, 0.0))
    return StraightIn(Path(start, [Arc(0.0, direction * left)]), poses)
