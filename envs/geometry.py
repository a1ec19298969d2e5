"""Plane geometry: poses, frames and oriented rectangles. Metres and radians throughout."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def wrap_angle(angle: float) -> float:
    """The same direction in (-pi, pi]."""
    wrapped = math.remainder(angle, 2.0 * math.pi)
    return math.pi if wrapped == -math.pi else wrapped


class Pose(NamedTuple):
    """A position and heading in the plane: x, y in metres, yaw in radians, anticlockwise."""

    x: float
    y: float
    yaw: float

    def transform(self, local: Pose) -> Pose:
        """`local`, given in the frame of this pose, in the frame that this pose is given in."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return Pose(
            self.x + cos * local.x - sin * local.y,
            self.y + sin * local.x + cos * local.y,
            wrap_angle(self.yaw + local.yaw),
        )

    def relative(self, other: Pose) -> Pose:
        """`other`, given in the same frame as this pose, in the frame of this pose."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = other.x - self.x, other.y - self.y
        return Pose(cos * dx + sin * dy, -sin * dx + cos * dy, wrap_angle(other.yaw - self.yaw))


class Rectangle(NamedTuple):
    """An oriented rectangle: its centre with heading, length along the heading, width across."""

    center: Pose
    length: float
    width: float

    def corners(self) -> NDArray[np.float64]:
        """Corners [4, 2], anticlockwise from the front left."""
        half_length, half_width = self.length / 2.0, self.width / 2.0
        local = np.array(
            [
                [half_length, half_width],
                [-half_length, half_width],
                [-half_length, -half_width],
                [half_length, -half_width],
            ]
        )
        cos, sin = math.cos(self.center.yaw), math.sin(self.center.yaw)
        rotation = np.array([[cos, -sin], [sin, cos]])
        return local @ rotation.T + np.array([self.center.x, self.center.y])

    def overlaps(self, other: Rectangle) -> bool:
        """Whether the two rectangles share area, by the separating-axis theorem."""
        mine, theirs = self.corners(), other.corners()
        for corners in (mine, theirs):
            for edge in (corners[1] - corners[0], corners[2] - corners[1]):
                axis = np.array([-edge[1], edge[0]])
                a, b = mine @ axis, theirs @ axis
                if a.max() <= b.min() or b.max() <= a.min():
                    return False
        return True
