"""What a manoeuvre without obstacles would cost: Reeds-Shepp with a price on gear changes."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.expert.reeds_shepp import gear_changes, reeds_shepp_words

Floats = NDArray[np.float64]

TURNING_RADIUS = 4.5
GEAR_CHANGE_COST = 3.0

_STEP = 0.5
_YAWS = 48
_X = np.arange(-4.0, 14.0 + _STEP / 2.0, _STEP)
_Y = np.arange(0.0, 20.0 + _STEP / 2.0, _STEP)


@functools.cache
def _table() -> NDArray[np.float32]:
    """Cost [x, y, yaw] from poses in the frame of a goal that is entered in reverse.

    The half plane y < 0 is the mirror image of the other. Takes about half a second, once a
    process.
    """
    yaws = np.arange(_YAWS) * (2.0 * math.pi / _YAWS)
    table = np.empty((_X.size, _Y.size, _YAWS), np.float32)
    y, yaw = (grid.ravel() for grid in np.meshgrid(_Y, yaws, indexing="ij"))
    cos, sin = np.cos(yaw), np.sin(yaw)
    for row, x in enumerate(_X):
        goal_x, goal_y = -(cos * x + sin * y), sin * x - cos * y
        words = reeds_shepp_words(goal_x / TURNING_RADIUS, goal_y / TURNING_RADIUS, -yaw)
        cost = words.total * TURNING_RADIUS
        cost += GEAR_CHANGE_COST * gear_changes(words.length, 0.0, -1.0)
        table[row] = cost.min(axis=0).reshape(_Y.size, _YAWS)
    return table


def cost_to_go(local: Floats, direction: int) -> NDArray[np.float32]:
    """Cost [...] from rear-axle poses [..., 3] in the goal's frame to the goal.

    direction: -1 when the goal is entered in reverse, 1 when forwards, which is the same under
    time flip: x and yaw change sign. Poses beyond the table count as on its edge.
    """
    flip = float(-direction)
    mirror = np.where(local[..., 1] < 0.0, -1.0, 1.0)
    x = np.rint((flip * local[..., 0] - _X[0]) / _STEP)
    y = np.rint(np.abs(local[..., 1]) / _STEP)
    yaw = np.rint(flip * mirror * local[..., 2] * (_YAWS / (2.0 * math.pi)))
    cells = (
        np.clip(x, 0, _X.size - 1).astype(np.int64),
        np.clip(y, 0, _Y.size - 1).astype(np.int64),
        np.mod(yaw, _YAWS).astype(np.int64),
    )
    return np.asarray(_table()[cells])
