"""Working the fixtures: drawers, the stove's knob, the microwave's door."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.arm import CLOSED, Arm
from helmsight.envs.libero.expert.grasps import bar_grasp
from helmsight.envs.libero.expert.hand import Floats, HandPose, downward, from_axes, rotation_matrix
from helmsight.envs.libero.expert.scene import Scene

Steps = Generator[NDArray[np.float32], None, None]

UP = np.array([0.0, 0.0, 1.0])
_DRAWER_OUT = np.array([0.0, -1.0, 0.0])  # in a cabinet's own axes
# Past what the predicates ask for: open below -0.14 m, closed above 0.
_OPENED = -0.152
_CLOSED_DRAWER = 0.002
_PULL = 0.20
_HANDLE_DEPTH = 0.004
_PUSH = 0.08
_AT_BAR = 0.008  # of the grip site over the bar, so that the tips of the leaning hand meet it
_KNOB_HEIGHT = 0.03
_KNOB_TURN = 0.85
_TURNED_ON = 0.6
_DOOR_RADIUS = 0.15
_DOOR_HEIGHT = 0.158
_DOOR_THICKNESS = 0.025
_DOOR_STEP = 0.30


def open_drawer(arm: Arm, joint: str) -> Steps:
    """Pull a drawer by its handle with a horizontal hand whose fingers open upwards."""
    scene = arm.scene
    for _ in range(2):
        handle, outward = drawer_handle(scene, joint)
        along = np.cross(UP, outward)
        grasp = bar_grasp(handle, along, -outward, _HANDLE_DEPTH)
        pose = grasp.pose.nearest_way(scene.hand().rotation)
        before = pose.backed_off(0.07)
        arm.gripper = -1.0
        yield from arm.travel(before, arm.crossing_height(before.position, 0.04), 200)
        yield from arm.move_to(before, tolerance=0.01, steps=40)
        yield from arm.move_to(pose, speed=0.5, tolerance=0.004, steps=40)
        yield from arm.close()
        pulled = pose.moved(_PULL * outward)
        for _ in range(60):
            if scene.joint_angle(joint) < _OPENED:
                break
            yield arm.action(pulled, 0.6)
        yield from arm.open()
        yield from arm.move_to(scene.hand().backed_off(0.07), tolerance=0.015, steps=25)
        if scene.joint_angle(joint) < -0.14:
            break
    hand = scene.hand()
    yield from arm.move_to(hand.moved(0.12 * UP), tolerance=0.03, steps=30)


def drawer_handle(scene: Scene, joint: str) -> tuple[Floats, Floats]:
    """Centre [3] of a drawer's handle bar and the way out [3] of the drawer, in the world."""
    body = scene.joint_body(joint)
    _, axes = scene.body_pose(body)
    outward = axes @ _DRAWER_OUT
    centers = [center for center, _, _ in scene.geoms_of_body(body)]
    return max(centers, key=lambda center: float(center @ outward)), outward


def close_drawer(arm: Arm, joint: str) -> Steps:
    """Push a drawer in by its handle bar with the tips of the closed hand, which leans back.

    Above the bar, against the front, the hand would meet the next drawer's handle.
    """
    scene = arm.scene
    lean = math.radians(50.0)
    for _ in range(2):
        handle, outward = drawer_handle(scene, joint)
        approach = -math.cos(lean) * outward - math.sin(lean) * UP
        rotation = from_axes(np.cross(UP, outward), approach)
        start = handle + 0.07 * outward + (_AT_BAR + 0.02) * UP
        before = HandPose(start, rotation).nearest_way(scene.hand().rotation)
        arm.gripper = CLOSED
        height = arm.crossing_height(before.position, 0.02)
        yield from arm.travel(before, height, 200)
        yield from arm.move_to(before, tolerance=0.012, steps=50)
        for _ in range(90):
            if scene.joint_angle(joint) > _CLOSED_DRAWER:
                break
            handle, _ = drawer_handle(scene, joint)
            goal = handle - _PUSH * outward + _AT_BAR * UP
            yield arm.action(HandPose(goal, before.rotation), 0.5)
        else:
            yield from arm.move_to(scene.hand().backed_off(0.10), tolerance=0.02, steps=30)
            continue
        break
    yield from arm.move_to(scene.hand().backed_off(0.10), tolerance=0.02, steps=30)


def turn_knob(arm: Arm, joint: str) -> Steps:
    """Turn a stove's knob on: grip its bar from above, turn the hand left, let go."""
    scene = arm.scene
    for _ in range(3):
        center, axes = scene.body_pose(scene.joint_body(joint))
        pose = HandPose(center + _KNOB_HEIGHT * UP, from_axes(axes[:, 0], -UP))
        # The knob turns to the left: start as far right as the bar allows.
        pose = pose.nearest_way(downward(-0.3))
        before = pose.backed_off(0.07)
        arm.gripper = -1.0
        yield from arm.travel(before, arm.crossing_height(before.position, 0.0))
        yield from arm.move_to(before, tolerance=0.01, steps=30)
        yield from arm.move_to(pose, speed=0.5, tolerance=0.004, steps=30)
        yield from arm.close()
        start = scene.hand()
        for step in range(45):
            if scene.joint_angle(joint) > _TURNED_ON:
                break
            turn = min(_KNOB_TURN, 0.05 * (step + 1))
            rotation = rotation_matrix(turn * UP) @ pose.rotation
            yield arm.action(HandPose(start.position, rotation), 0.3)
        yield from arm.open()
        yield from arm.move_to(scene.hand().backed_off(0.09), tolerance=0.015, steps=25)
        if scene.joint_angle(joint) >= 0.5:
            return


def close_door(arm: Arm, joint: str, fixture: str) -> Steps:
    """Push a microwave's door shut along its arc with the tips of the closed hand from above."""
    scene = arm.scene
    body = scene.joint_body(joint)
    hinge, _ = scene.body_pose(body)
    height = float(scene.position(fixture)[2]) + _DOOR_HEIGHT
    for _ in range(2):
        arm.gripper = CLOSED
        before = _at_door(scene, body, hinge, 0.07, height)
        yield from arm.travel(before, max(height + 0.09, arm.crossing_height(before.position, 0.0)))
        yield from arm.move_to(before, tolerance=0.015, steps=50)
        for _ in range(110):
            if scene.joint_angle(joint) > -0.003:
                break
            yield arm.action(_at_door(scene, body, hinge, -0.04, height), 0.5)
        outward = _door_axes(scene, body)[1]
        yield from arm.move_to(scene.hand().moved(0.05 * outward), tolerance=0.015, steps=20)
        yield from arm.move_to(scene.hand().moved(0.10 * UP), tolerance=0.03, steps=25)
        if scene.joint_angle(joint) > -0.005:
            return


def _at_door(scene: Scene, body: int, hinge: Floats, distance: float, height: float) -> HandPose:
    """Hand at the door's outer face, `distance` m before it, behind it where that is negative."""
    along, outward = _door_axes(scene, body)
    position = hinge + _DOOR_RADIUS * along + (_DOOR_THICKNESS + 0.012 + distance) * outward
    rotation = from_axes(along, -UP)
    pose = HandPose(np.array([position[0], position[1], height]), rotation)
    return pose.nearest_way(downward())


def _door_axes(scene: Scene, body: int) -> tuple[Floats, Floats]:
    """Unit vectors [3] from the hinge along the door, and out of its outer face."""
    _, axes = scene.body_pose(body)
    return axes[:, 0], -axes[:, 1]
