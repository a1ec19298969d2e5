"""Moving the hand: actions of the operational-space controller towards poses, as generators.

A motion is a generator that yields one action a control step and reads the scene when it is
resumed, after the step. Motions chain by `yield from`.

An action is robosuite's OSC_POSE delta [7]: translation / 0.05 m and rotation vector / 0.5 rad,
both in the world and from the present pose, then the gripper: -1 opens, +1 closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.hand import (
    FINGER_REACH,
    Floats,
    HandPose,
    rotation_angle,
    rotation_vector,
)
from helmsight.envs.libero.expert.scene import Scene

Motion = Iterator[NDArray[np.float32]]

TRANSLATION_UNIT = 0.05
ROTATION_UNIT = 0.5
OPEN, CLOSED = -1.0, 1.0
# Control steps that the fingers need from open to closed and back, with some to settle.
CLOSING_STEPS = 10
OPENING_STEPS = 6

_GAIN = 1.2
_MAX_TURN = 0.3  # rad a step
_MARGIN = 0.03  # between what the hand carries and what it passes over, m
_CORRIDOR = 0.11  # half width of what the hand sweeps, m
_NEAR = 0.006
_NEAR_ANGLE = 0.06
# A hand that moved and turned less than this in so many steps gets no farther (m, rad).
_STALL_STEPS = 8
_STALL_DISTANCE = 0.002
_STALL_ANGLE = 0.02


class Arm:
    """The hand of one episode and how it is moved.

    free: whether the hand moves through free space now, where a push would do no harm.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.gripper = OPEN
        self.free = False

    def action(self, target: HandPose, speed: float = 1.0) -> NDArray[np.float32]:
        """One step towards a pose. speed: largest entry of the translation, in (0, 1]."""
        hand = self.scene.hand()
        move = _GAIN * (target.position - hand.position) / TRANSLATION_UNIT
        turn = _GAIN * rotation_vector(hand.rotation, target.rotation)
        move = move * min(1.0, speed / max(1e-9, float(np.abs(move).max())))
        turn = turn * min(1.0, _MAX_TURN / max(1e-9, float(np.linalg.norm(turn))))
        return np.array([*move, *(turn / ROTATION_UNIT), self.gripper], np.float32)

    def at(self, target: HandPose, tolerance: float = _NEAR) -> bool:
        hand = self.scene.hand()
        near = float(np.linalg.norm(hand.position - target.position)) <= tolerance
        return near and rotation_angle(hand.rotation, target.rotation) <= _NEAR_ANGLE

    def move_to(
        self, target: HandPose, speed: float = 1.0, tolerance: float = _NEAR, steps: int = 60
    ) -> Motion:
        """Straight to a pose; gives up after `steps`, or where something holds the hand back."""
        past: deque[HandPose] = deque(maxlen=_STALL_STEPS)
        for _ in range(steps):
            hand = self.scene.hand()
            if self.at(target, tolerance) or (len(past) == _STALL_STEPS and stalled(past[0], hand)):
                return
            past.append(hand)
            yield self.action(target, speed)

    def stay(self, steps: int) -> Motion:
        """Hold the pose of now."""
        here = self.scene.hand()
        for _ in range(steps):
            yield self.action(here)

    def close(self) -> Motion:
        """Close the fingers and wait until they hold."""
        self.gripper = CLOSED
        yield from self.stay(CLOSING_STEPS)

    def open(self) -> Motion:
        """Open the fingers and wait until they have let go."""
        self.gripper = OPEN
        yield from self.stay(OPENING_STEPS)

    def travel(self, target: HandPose, height: float, steps: int = 160) -> Motion:
        """To a pose by way of a height (m, of the grip site) below which it never crosses far.

        Ends beside or above the target; what is left is for `move_to`.
        """
        self.free = True
        for _ in range(steps):
            hand = self.scene.hand()
            sideways = target.position[:2] - hand.position[:2]
            distance = float(np.linalg.norm(sideways))
            turned = rotation_angle(hand.rotation, target.rotation)
            if distance <= 0.02 and turned <= 0.15:
                break
            # Down to the target only over it; across only as high as asked for.
            level = max(target.position[2], height)
            if distance <= 0.04 and turned <= 0.3:
                level = target.position[2]
            missing = level - hand.position[2]
            share = float(np.clip(1.0 - (missing - 0.02) / 0.04, 0.0, 1.0))
            waypoint = np.array([*(hand.position[:2] + share * sideways), level])
            yield self.action(HandPose(waypoint, target.rotation))
        self.free = False

    def crossing_height(self, goal: Floats, depth: float, *without: str) -> float:
        """Height of the grip site [m] at which the way from here to `goal` [3] is free.

        depth: how far what moves hangs below the grip site, m. without: things that are no
        obstacles.
        """
        start, end = self.scene.hand().position[:2], goal[:2]
        points = self.scene.obstacles(*without)
        way = end - start
        length = float(way @ way)
        along = (points[:, :2] - start) @ way / length if length > 1e-9 else np.zeros(len(points))
        nearest = start + np.clip(along, 0.0, 1.0)[:, None] * way
        passed = points[np.linalg.norm(points[:, :2] - nearest, axis=1) <= _CORRIDOR]
        if not len(passed):
            return -np.inf
        return float(passed[:, 2].max()) + max(depth, FINGER_REACH) + _MARGIN


def stalled(before: HandPose, now: HandPose) -> bool:
    """Whether the hand has hardly moved from one pose to the other."""
    moved = float(np.linalg.norm(now.position - before.position))
    turned = rotation_angle(before.rotation, now.rotation)
    return moved < _STALL_DISTANCE and turned < _STALL_ANGLE
