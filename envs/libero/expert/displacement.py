"""Starts beside the benchmark's own: the hand moved before an episode begins."""

from __future__ import annotations

import numpy as np

from helmsight.envs.libero.expert.arm import Arm
from helmsight.envs.libero.expert.hand import HandPose, points_in_hand, rotation_matrix
from helmsight.envs.libero.expert.scene import Scene
from helmsight.envs.libero.simulator import LiberoSimulator

_STEPS = 40
_CLEARANCE = 0.03


def displace(simulator: LiberoSimulator, offset: tuple[float, float, float, float]) -> None:
    """Move the hand by x, y, z (m) and yaw (rad) from where it is, above everything in its way.

    Where the hand would end in something, it goes half as far, and stays where that is no better.
    """
    scene = Scene(simulator)
    arm = Arm(scene)
    start = scene.hand()
    for share in (1.0, 0.5):
        x, y, z, yaw = share * np.asarray(offset)
        turned = rotation_matrix(np.array([0.0, 0.0, yaw])) @ start.rotation
        target = HandPose(start.position + np.array([x, y, z]), turned)
        lowest = arm.crossing_height(target.position, 0.0) + _CLEARANCE
        target.position[2] = max(float(target.position[2]), lowest)
        if not points_in_hand(target, scene.obstacles()):
            break
    else:
        return
    for action in arm.move_to(target, speed=0.8, tolerance=0.01, steps=_STEPS):
        simulator.step(action)
    for action in arm.stay(3):
        simulator.step(action)
