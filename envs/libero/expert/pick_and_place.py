"""Picking objects up and putting them where a predicate wants them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.arm import Arm
from helmsight.envs.libero.expert.grasps import (
    APPROACH,
    Grasp,
    GraspScene,
    Rim,
    distinct,
    near,
    ranked,
    rim_grasps,
    top_grasps,
)
from helmsight.envs.libero.expert.hand import PALM_DISTANCE, Floats, HandPose, downward
from helmsight.envs.libero.expert.scene import Scene

Attempted = Generator[NDArray[np.float32], None, bool]
"""A motion that returns whether it worked."""

_TRIES = 3
_LIFT = 0.06
# A held object rises at least so far (m), and by so much of the hand's own rise; a plate held by
# its rim hangs down from it.
_RISEN = 0.012
_RISEN_SHARE = 0.4
_PLATE_RISEN_SHARE = 0.2
_LOST = 0.05
_RELEASE_GAP = 0.006
# How much room a thing needs on its way up, and how far it may go aside for it, m.
_ROOM_BESIDE = 0.004
_STEPS_ASIDE = (0.03, 0.06, 0.09, 0.12, 0.15)
_RIMS = {
    "bowl": Rim(0.014),
    "ramekin": Rim(0.012),
    "mug": Rim(0.022),
    "plate": Rim(0.004, slab=0.004, thickest=0.040),
}
_KNOB_DEPTH = 0.009


@dataclass(frozen=True)
class Held:
    """An object in the hand. offset: [3] of its origin in the hand's frame when it was lifted."""

    name: str
    offset: Floats

    def hand_for(self, origin: Floats, rotation: Floats) -> HandPose:
        """Pose of the hand, turned as `rotation` [3, 3], that brings the origin to [3]."""
        return HandPose(origin - rotation @ self.offset, rotation)


def held(scene: Scene, name: str) -> Held:
    """The object as it is in the hand now."""
    hand = scene.hand()
    offset = hand.rotation.T @ (scene.position(name) - hand.position)
    return Held(name, offset)


def candidates(scene: Scene, name: str) -> list[Grasp]:
    """Grips of an object by what kind of thing it is."""
    points, category = scene.points(name), scene.category(name)
    if "moka_pot" in category:
        return knob_grasps(points)
    for kind, rim in _RIMS.items():
        if kind in category:
            return rim_grasps(points, rim)
    return top_grasps(points)


def knob_grasps(points: Floats) -> list[Grasp]:
    """Grips from above of what stands out on top, as the knob of a lid."""
    top = points[:, 2].max()
    knob = points[points[:, 2] > top - 1.5 * _KNOB_DEPTH]
    height = top - _KNOB_DEPTH
    return [
        Grasp(HandPose(np.array([*g.pose.position[:2], height]), g.pose.rotation), g.width)
        for g in top_grasps(knob)
    ]


def pick(arm: Arm, name: str, grasps: Callable[[], list[Grasp]] | None = None) -> Attempted:
    """Take an object; up to three tries, each with another grip. Returns whether it is held.

    grasps: gives candidates where those by the object's kind will not do.
    """
    scene = arm.scene
    missed: list[Grasp] = []
    for _ in range(_TRIES):
        found = grasps() if grasps is not None else candidates(scene, name)
        obstacles = near(scene.obstacles(name), scene.position(name))
        judge = GraspScene(obstacles, scene.base, downward())
        order = list(distinct(ranked(found, judge)))
        if not order:
            return False
        grasp = order[min(len(missed), len(order) - 1)]
        if (yield from _take(arm, name, grasp)):
            return True
        missed.append(grasp)
    return False


def _take(arm: Arm, name: str, grasp: Grasp) -> Attempted:
    scene = arm.scene
    before = grasp.pose.backed_off(APPROACH)
    arm.gripper = -1.0
    height = arm.crossing_height(before.position, 0.0)
    yield from arm.travel(before, height)
    # What is off here stays off all the way down.
    yield from arm.move_to(before, tolerance=0.004, steps=25)
    yield from arm.move_to(grasp.pose, speed=0.6, tolerance=0.004, steps=40)
    yield from arm.close()
    start = scene.position(name)[2]
    here = scene.hand()
    lifted = here.moved(np.array([0.0, 0.0, _LIFT]))
    yield from arm.move_to(lifted, speed=0.6, tolerance=0.012, steps=25)
    risen = scene.position(name)[2] - start
    share = _PLATE_RISEN_SHARE if "plate" in scene.category(name) else _RISEN_SHARE
    if risen > max(_RISEN, share * (scene.hand().position[2] - here.position[2])):
        yield from _step_aside(arm, name)
        return True
    yield from arm.open()
    yield from arm.move_to(scene.hand().backed_off(APPROACH), tolerance=0.02, steps=20)
    return False


def _step_aside(arm: Arm, name: str) -> Generator[NDArray[np.float32], None, None]:
    """From under what the object would meet on its way up, such as an open drawer."""
    aside = way_out(arm.scene.points(name), arm.scene.obstacles(name))
    if aside.any():
        target = arm.scene.hand().moved(np.array([*aside, 0.0]))
        yield from arm.move_to(target, speed=0.6, tolerance=0.012, steps=25)


def way_out(points: Floats, obstacles: Floats) -> Floats:
    """The shortest level move [2] after which nothing is above an object; zero where there is none.

    points: [N, 3] of the object. obstacles: [M, 3].
    """
    middle = (points.max(axis=0) + points.min(axis=0))[:2] / 2.0
    radius = float(np.linalg.norm(points[:, :2] - middle, axis=1).max()) + _ROOM_BESIDE
    above = obstacles[obstacles[:, 2] > points[:, 2].max() - 0.01][:, :2] - middle
    angles = np.pi + np.arange(16) * np.pi / 8.0  # towards the robot first
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for distance in (0.0, *_STEPS_ASIDE):
        for way in ways:
            if not len(above) or np.linalg.norm(above - distance * way, axis=1).min() > radius:
                return np.asarray(distance * way)
    return np.zeros(2)


def carry(arm: Arm, load: Held, target: HandPose) -> Attempted:
    """Over to above `target`, higher than what stands between. Returns False if it fell."""
    hanging = arm.scene.hand().position[2] - float(arm.scene.points(load.name)[:, 2].min())
    height = arm.crossing_height(target.position, hanging, load.name)
    for action in arm.travel(target, height):
        yield action
        if lost(arm.scene, load):
            return False
    return True


def lost(scene: Scene, load: Held) -> bool:
    """Whether the object is farther from the hand than it was; it may swing between the fingers."""
    away = np.linalg.norm(scene.position(load.name) - scene.hand().position)
    return bool(away - np.linalg.norm(load.offset) > _LOST)


def let_go(arm: Arm, retreat: float = 0.08) -> Generator[NDArray[np.float32], None, None]:
    """Open the fingers and draw the hand back, then up."""
    yield from arm.open()
    yield from arm.move_to(arm.scene.hand().backed_off(retreat), tolerance=0.015, steps=20)


def support_height(points: Floats, footprint: Floats, center: Floats, otherwise: float) -> float:
    """Height on which an object comes to stand at `center` [2].

    points: [N, 3] of what lies below. footprint: [M, 2] of the object's lowest points about its
    centre.
    """
    radius = float(np.linalg.norm(footprint, axis=1).max()) if len(footprint) else 0.0
    below = points[np.linalg.norm(points[:, :2] - center, axis=1) <= radius]
    return float(below[:, 2].max()) if len(below) else otherwise


def place_on(arm: Arm, load: Held, center: Floats, support: float) -> Attempted:
    """Stand the object upright with its origin over `center` [2], its lowest point on `support`.

    Returns whether it was let go there.
    """
    scene = arm.scene
    lowest = float(scene.position(load.name)[2] - scene.points(load.name)[:, 2].min())
    rotation = scene.hand().rotation
    over = np.array([*center, support + lowest + 0.05])
    if not (yield from carry(arm, load, load.hand_for(over, rotation))):
        return False
    load = held(scene, load.name)  # it may have slipped on the way
    down = load.hand_for(np.array([*center, support + lowest + _RELEASE_GAP]), rotation)
    above = down.moved(np.array([0.0, 0.0, 0.03]))
    yield from arm.move_to(above, speed=0.6, tolerance=0.008, steps=30)
    yield from arm.move_to(down, speed=0.3, tolerance=0.003, steps=30)
    yield from let_go(arm)
    return True


def drop_into(arm: Arm, load: Held, region: str, floor: float, rim: float) -> Attempted:
    """Let the object fall into an open container, centred over its region.

    floor, rim: heights of what it falls on and of the container's edge, m: the hand goes as deep
    as its palm allows. Returns whether it was let go there.
    """
    scene = arm.scene
    center, _, _ = scene.region(region)
    points = scene.points(load.name)
    middle = (points.min(axis=0) + points.max(axis=0))[:2] / 2.0
    hand = scene.hand()
    above_lowest = hand.position[2] - points[:, 2].min()
    height = max(floor + above_lowest + 0.01, rim - PALM_DISTANCE + 0.015)
    target = HandPose(np.array([*(hand.position[:2] + center[:2] - middle), height]), hand.rotation)
    above = HandPose(
        np.array([*target.position[:2], max(height, rim + above_lowest + 0.02)]), hand.rotation
    )
    if not (yield from carry(arm, load, above)):
        return False
    yield from arm.move_to(above, tolerance=0.015, steps=25)
    yield from arm.move_to(target, speed=0.6, tolerance=0.008, steps=30)
    yield from arm.open()
    yield from arm.move_to(above, tolerance=0.02, steps=25)
    return True
