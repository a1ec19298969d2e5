"""What a manoeuvre without obstacles would cost: Reeds-Shepp with a price on gear changes."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.reeds_shepp import gear_changes, reeds_shepp_words

Floats = NDArray[np.float64]

TURNING_RADIUS = 4.5
GEAR_CHANGE_COST = 3.0

_STEP = 0.5
_YAWS = 48
_X = np.arange(0.0, 20.0 + _STEP / 2.0, _STEP)
_Y = np.arange(0.0, 15.0 + _STEP / 2.0, _STEP)


@functools.cache
def _table() -> NDArray[np.float32]:
    """Cost [x, y, yaw] from poses in the frame of a goal, for x >= 0 and y >= 0.

    Time flip and reflection give the other quadrants. Takes about half a second, once a process.
    """
    yaws = np.arange(_YAWS) * (2.0 * math.pi / _YAWS)
    table = np.empty((_X.size, _Y.size, _YAWS), np.float32)
    y, yaw = (grid.ravel() for grid in np.meshgrid(_Y, yaws, indexing="ij"))
    cos, sin = np.cos(yaw), np.sin(yaw)
    for row, x in enumerate(_X):
        goal_x, goal_y = -(cos * x + sin * y), sin * x - cos * y
        words = reeds_shepp_words(goal_x / TURNING_RADIUS, goal_y / TURNING_RADIUS, -yaw)
        cost = words.total * TURNING_RADIUS
        cost += GEAR_CHANGE_COST * gear_changes(words.length, 0.0, 0.0)
        table[row] = cost.min(axis=0).reshape(_Y.size, _YAWS)
    return table


def cost_to_go(poses: Floats, goal: Pose) -> NDArray[np.float32]:
    """Cost [...] from rear-axle poses [..., 3] to the goal, or back: it is the same.

    Poses beyond 20 m ahead or 15 m aside count as on that edge.
    """
    cos, sin = math.cos(goal.yaw), math.sin(goal.yaw)
    dx, dy = poses[..., 0] - goal.x, poses[..., 1] - goal.y
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    mirror = np.where((x < 0.0) ^ (y < 0.0), -1.0, 1.0)
    yaw = np.rint(mirror * (poses[..., 2] - goal.yaw) * (_YAWS / (2.0 * math.pi)))
    cells = (
        np.minimum(np.rint(np.abs(x) / _STEP), _X.size - 1).astype(np.int64),
        np.minimum(np.rint(np.abs(y) / _STEP), _Y.size - 1).astype(np.int64),
        np.mod(yaw, _YAWS).astype(np.int64),
    )
    return np.asarray(_table()[cells])
