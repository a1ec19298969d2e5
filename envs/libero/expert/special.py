"""Placements that need the hand turned: a bottle on a rack, a mug in a microwave, a book."""

from __future__ import annotations

import math

import numpy as np

from helmsight.envs.libero.expert.arm import Arm
from helmsight.envs.libero.expert.grasps import Grasp
from helmsight.envs.libero.expert.hand import Floats, HandPose, from_axes, rotation_matrix
from helmsight.envs.libero.expert.pick_and_place import (
    Attempted,
    Held,
    carry,
    held,
    let_go,
    lost,
)
from helmsight.envs.libero.expert.scene import Scene

UP = np.array([0.0, 0.0, 1.0])
_RACK_TILT = math.radians(50.0)
# Where a bottle's bottom goes: from the stopper up the slope, and over it by its radius (m).
_OFF_STOPPER = 0.012
_OVER_SLOPE = 0.020
_HANDLE = np.array([0.066, 0.0, 0.058])  # of the yellow and white mug, in its own axes
# How far below level the hand may point when it grips a handle, and what that costs.
_HANDLE_PITCHES = tuple((math.radians(angle), angle / 60.0) for angle in (20.0, 35.0, 50.0))


def lay_on_rack(arm: Arm, load: Held, region: str) -> Attempted:
    """Lean a bottle on a rack, tilted up its slope, with its bottom in the region at its foot."""
    scene = arm.scene
    center, axes, _ = scene.region(region)
    slope = up_slope(axes)
    hand = scene.hand()
    # The bottle's neck tips from upright towards the way that the slope rises.
    axis = np.cross(UP, slope)
    upright = hand.rotation
    tilted = rotation_matrix(_RACK_TILT * axis / np.linalg.norm(axis)) @ upright
    goal = center + _OFF_STOPPER * slope + _OVER_SLOPE * UP
    above = load.hand_for(goal + 0.10 * UP, upright)
    if not (yield from carry(arm, load, above)):
        return False
    yield from arm.move_to(above, tolerance=0.015, steps=30)
    load = held(scene, load.name)
    over = load.hand_for(goal + 0.05 * UP, tilted)
    yield from arm.move_to(over, speed=0.6, tolerance=0.012, steps=50)
    if lost(scene, load):
        return False
    yield from arm.move_to(load.hand_for(goal, tilted), speed=0.3, tolerance=0.005, steps=35)
    yield from let_go(arm)
    return True


def up_slope(axes: Floats) -> Floats:
    """Unit vector [3] up the slope of a rack whose region, with axes [3, 3], is the stopper at the
    slope's foot: across the stopper, its third axis."""
    slope = axes[:, 2]
    return slope if slope[2] >= 0.0 else -slope


def handle_grasps(scene: Scene, name: str) -> list[Grasp]:
    """Grips of a mug by its handle, from the side, the hand more or less below level."""
    position, axes = scene.position(name), scene.rotation(name)
    handle = position + axes @ _HANDLE
    outward = handle - position
    outward[2] = 0.0
    outward /= np.linalg.norm(outward)
    grasps = []
    for pitch, drawback in _HANDLE_PITCHES:
        approach = -math.cos(pitch) * outward - math.sin(pitch) * UP
        rotation = from_axes(np.cross(UP, outward), approach)
        grasps.append(Grasp(HandPose(handle, rotation), 0.018, drawback))
    return grasps


def put_inside(arm: Arm, load: Held, region: str, inward: Floats, floor: float) -> Attempted:
    """Carry an object level into a chamber along `inward` [3] and stand it on `floor` (m)."""
    scene = arm.scene
    center, _, _ = scene.region(region)
    lowest = float(scene.position(load.name)[2] - scene.points(load.name)[:, 2].min())
    # The object stays upright: the hand points as far below level as it did when it took it.
    below = -float(scene.hand().approach[2])
    approach = math.sqrt(1.0 - below**2) * inward - below * UP
    rotation = from_axes(np.cross(UP, inward), approach)
    pose = HandPose(scene.hand().position, rotation).nearest_way(scene.hand().rotation)
    goal = np.array([center[0], center[1], floor + lowest + 0.012]) - 0.03 * inward
    before = load.hand_for(goal - 0.24 * inward + 0.01 * UP, pose.rotation)
    if not (yield from carry(arm, load, before)):
        return False
    yield from arm.move_to(before, speed=0.8, tolerance=0.012, steps=60)
    load = held(scene, load.name)
    yield from arm.move_to(load.hand_for(goal, pose.rotation), speed=0.5, steps=60)
    yield from arm.open()
    yield from arm.move_to(scene.hand().moved(-0.22 * inward), speed=0.7, tolerance=0.03, steps=50)
    return True


def slide_into(arm: Arm, load: Held, region: str) -> Attempted:
    """Let a slab down between the walls of a narrow region, its flat side along the walls."""
    scene = arm.scene
    center, axes, half = scene.region(region)
    extent = np.abs(axes @ half)
    narrow = np.eye(3)[int(np.argmin(extent[:2]))] if _level(axes) else _narrow_axis(axes, half)
    points = scene.points(load.name)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    hand = scene.hand()
    # The fingers hold the slab by its flat sides: they open across the gap.
    turned = from_axes(narrow, hand.approach)
    pose = HandPose(hand.position, turned).nearest_way(hand.rotation)
    offset = hand.rotation.T @ (middle - hand.position)
    top = float(center[2] + extent[2])
    height = hand.position[2] - float(points[:, 2].min())
    over = np.array([center[0], center[1], 0.0]) - pose.rotation @ offset * np.array([1, 1, 0])
    above = HandPose(np.array([over[0], over[1], top + height + 0.05]), pose.rotation)
    if not (yield from carry(arm, load, above)):
        return False
    yield from arm.move_to(above, tolerance=0.006, steps=50)
    down = HandPose(above.position - np.array([0.0, 0.0, 0.16]), above.rotation)
    for _ in range(80):
        if arm.at(down) or scene.succeeded():
            break
        yield arm.action(down, 0.4)
    yield from arm.stay(4)
    yield from let_go(arm, 0.12)
    return True


def _level(axes: Floats) -> bool:
    return bool(np.abs(np.abs(axes) - np.round(np.abs(axes))).max() < 1e-3)


def _narrow_axis(axes: Floats, half: Floats) -> Floats:
    """The level axis [3] of a region along which it is narrowest."""
    level = [i for i in range(3) if abs(axes[2, i]) < 0.5]
    return axes[:, min(level, key=lambda i: float(half[i]))]
