"""The Panda hand as the expert sees it: poses of the grip site and the boxes that the hand fills.

The hand's frame has its origin at robosuite's grip site, between the fingers and 1 cm before their
tips. Its axes are the columns of a rotation: x along the opening of the fingers, y across them, z
the way in which the hand points. World frame: z up, metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_OPENING = 0.076
"""Widest object that fits between the open fingers with something to spare, in m."""
FINGER_REACH = 0.010
"""The finger tips stand this far before the grip site, in m."""
PALM_DISTANCE = 0.035
"""The palm's underside lies this far behind the grip site, in m."""

# Boxes of the open hand in its own frame: centre and half sizes in m. Two fingers; palm and flange
# with 1 cm around them, because the way there is not kept to the millimetre.
HAND_BOXES: tuple[tuple[Floats, Floats], ...] = tuple(
    (np.array(center), np.array(half))
    for center, half in (
        ((0.048, 0.0, -0.016), (0.014, 0.013, 0.029)),
        ((-0.048, 0.0, -0.016), (0.014, 0.013, 0.029)),
        ((0.0, 0.0, -0.085), (0.112, 0.042, 0.053)),
        ((0.0, 0.0, -0.230), (0.065, 0.065, 0.100)),
    )
)


@dataclass(frozen=True)
class HandPose:
    """position: [3] of the grip site in the world, m. rotation: [3, 3], hand to world."""

    position: Floats
    rotation: Floats

    @property
    def approach(self) -> Floats:
        """Unit vector [3] in which the hand points."""
        return self.rotation[:, 2]

    def moved(self, offset: Floats) -> HandPose:
        """The pose shifted by a world vector [3]."""
        return HandPose(self.position + offset, self.rotation)

    def backed_off(self, distance: float) -> HandPose:
        """The pose `distance` m back against the approach."""
        return self.moved(-distance * self.approach)

    def to_hand(self, points: Floats) -> Floats:
        """World points [N, 3] in the hand's frame."""
        return (points - self.position) @ self.rotation

    def other_way(self) -> HandPose:
        """The same grasp with the fingers swapped: half a turn about the approach."""
        return HandPose(self.position, self.rotation * np.array([-1.0, -1.0, 1.0]))

    def nearest_way(self, reference: Floats) -> HandPose:
        """This pose or `other_way`, whichever is turned less from the rotation [3, 3]."""
        other = self.other_way()
        here = rotation_angle(self.rotation, reference)
        return self if here <= rotation_angle(other.rotation, reference) else other


def downward(yaw: float = 0.0, lean: float = 0.0) -> Floats:
    """Rotation [3, 3] of a hand that points down and opens along world y at yaw 0.

    lean: by which the hand's back tips towards its own x axis, in radians.
    """
    sine, cosine = math.sin(yaw), math.cos(yaw)
    along = np.array([-sine, cosine, 0.0])
    approach = -math.cos(lean) * np.array([0.0, 0.0, 1.0]) - math.sin(lean) * along
    return from_axes(along, approach)


def from_axes(fingers: Floats, approach: Floats) -> Floats:
    """Rotation [3, 3] of a hand that points along `approach` and opens as nearly as it can along
    `fingers`; both [3], of any length, not parallel."""
    forward = approach / np.linalg.norm(approach)
    side = fingers - forward * (fingers @ forward)
    length = np.linalg.norm(side)
    if length < 1e-6:
        raise ValueError("the fingers cannot open along the approach")
    side = side / length
    return np.stack([side, np.cross(forward, side), forward], axis=1)


def rotation_vector(start: Floats, end: Floats) -> Floats:
    """World axis times angle [3] that turns `start` into `end`: end = exp(result) start."""
    difference = end @ start.T
    cosine = np.clip((np.trace(difference) - 1.0) / 2.0, -1.0, 1.0)
    angle = math.acos(cosine)
    skew = np.array(
        [
            difference[2, 1] - difference[1, 2],
            difference[0, 2] - difference[2, 0],
            difference[1, 0] - difference[0, 1],
        ]
    )
    if angle < 1e-6:
        return skew / 2.0
    if math.pi - angle > 1e-3:
        return skew * (angle / (2.0 * math.sin(angle)))
    # At half a turn the antisymmetric part vanishes: the axis spans the symmetric one, without what
    # it holds of the identity.
    symmetric = (difference + difference.T) / 2.0 - cosine * np.eye(3)
    axis = symmetric[:, int(np.argmax(np.diag(symmetric)))]
    axis = axis / np.linalg.norm(axis)
    return axis * angle * (1.0 if skew @ axis >= 0.0 else -1.0)


def rotation_matrix(vector: Floats) -> Floats:
    """exp of a world axis times angle [3] (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)


def rotation_angle(start: Floats, end: Floats) -> float:
    """Angle in radians between two rotations [3, 3]."""
    cosine = (np.trace(end @ start.T) - 1.0) / 2.0
    return math.acos(min(1.0, max(-1.0, cosine)))


def points_in_hand(pose: HandPose, points: Floats) -> int:
    """How many of the world points [N, 3] lie inside the open hand."""
    local = pose.to_hand(points)
    inside = np.zeros(len(local), bool)
    for center, half in HAND_BOXES:
        inside |= (np.abs(local - center) <= half).all(axis=1)
    return int(inside.sum())
