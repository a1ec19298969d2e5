"""Where an object can be gripped: candidates from the points of its surface, pure geometry.

A candidate is a hand pose. Boxes, cans and bottles are gripped from above across their narrow
side; bowls, plates and mugs by the wall below their rim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from helmsight.envs.libero.expert.hand import (
    FINGER_REACH,
    MAX_OPENING,
    Floats,
    HandPose,
    downward,
    from_axes,
    points_in_hand,
    rotation_angle,
)

# Grips from above go so far below the top, but keep the finger tips off what the object stands on.
_BELOW_TOP = 0.030
_ABOVE_BOTTOM = FINGER_REACH + 0.002
_YAW_STEP = math.radians(5.0)
_SLAB = 0.012  # half height of the part of an object that the fingers touch, m
# A yaw is a candidate when turning the hand a little would not make the grip this much narrower.
_NARROWER = 0.0015
# From this length over width on, a thing may be gripped off its middle; what that costs, a metre.
_LONG = 1.5
_SHIFTED = 10.0
_FINGER_HALF_WIDTH = 0.012
_RIM_AZIMUTHS = 24
# A leaning hand goes where an upright one would touch something, but holds a wall less well.
_RIM_LEANS = ((0.0, 0.0), (math.radians(32.0), 1.0))
# How far before its grip the hand turns onto the approach, and heights over that on its way, m.
APPROACH = 0.08
_LIFTED = (0.06, 0.12)
# The shoulder's height over the base, and the wrist's distance behind the grip site, m.
_SHOULDER_HEIGHT = 0.333
_WRIST_DISTANCE = 0.205
# Beyond this distance from shoulder to wrist the elbow nearly locks (m).
_COMFORTABLE_REACH = 0.60
_TOUCHABLE = 0.25


@dataclass(frozen=True)
class Grasp:
    """pose: of the hand when it closes. width: between the fingers, m. drawback: what it costs
    beside turn, reach and touch."""

    pose: HandPose
    width: float
    drawback: float = 0.0


@dataclass(frozen=True)
class Rim:
    """How a kind of vessel is gripped, in m.

    depth: of the grip below the rim. slab: half height of the part of the wall that the fingers are
    taken to touch. thickest: wall that is no handle.
    """

    depth: float
    slab: float = 0.007
    thickest: float = 0.020


@dataclass(frozen=True)
class GraspScene:
    """What a candidate is judged by: world points [N, 3] to keep clear of, the robot's base [3],
    and the rotation [3, 3] from which a turn costs; see `near` for the points."""

    obstacles: Floats
    base: Floats
    rotation: Floats


def top_grasps(points: Floats) -> list[Grasp]:
    """Grips from above across the narrow sides of an object with surface points [N, 3].

    Long ones can be gripped off their middle too, where a palm over the middle would meet what
    stands beside them.
    """
    top, bottom = points[:, 2].max(), points[:, 2].min()
    height = max(bottom + _ABOVE_BOTTOM, top - _BELOW_TOP)
    slab = points[np.abs(points[:, 2] - height) <= _SLAB][:, :2]
    yaws = np.arange(0.0, math.pi, _YAW_STEP)
    fingers = np.stack([-np.sin(yaws), np.cos(yaws)], axis=1)  # [Y, 2]
    across = slab @ fingers.T  # [N, Y]
    widths = across.max(axis=0) - across.min(axis=0)
    grasps = []
    for index, yaw in enumerate(yaws):
        neighbours = widths[np.arange(index - 3, index + 4) % len(yaws)]
        if widths[index] > MAX_OPENING or widths[index] > neighbours.min() + _NARROWER:
            continue
        side = np.array([math.cos(yaw), math.sin(yaw)])
        along = slab @ side
        middle = fingers[index] * (across[:, index].max() + across[:, index].min()) / 2.0
        middle = middle + side * (along.max() + along.min()) / 2.0
        rotation, width = downward(float(yaw)), float(widths[index])
        for shift in _shifts(float(np.ptp(along)), width):
            pose = HandPose(np.array([*(middle + shift * side), height]), rotation)
            grasps.append(Grasp(pose, width, drawback=_SHIFTED * abs(shift)))
    return grasps


def _shifts(length: float, width: float) -> list[float]:
    """How far from the middle of an object's length the fingers may grip, m."""
    if length < _LONG * width:
        return [0.0]
    reach = length / 2.0 - _FINGER_HALF_WIDTH
    return [share * reach for share in (0.0, -0.4, 0.4, -0.8, 0.8)]


def rim_grasps(points: Floats, rim: Rim) -> list[Grasp]:
    """Grips of the wall of an open vessel with surface points [N, 3].

    The fingers open along the radius; a leaning hand (radians) tips its back outwards. The axis is
    that of the base, because a handle shifts everything else; walls that are too thick, as at a
    handle, are left out.
    """
    top, bottom = points[:, 2].max(), points[:, 2].min()
    base = points[points[:, 2] <= bottom + 0.012][:, :2]
    center = (base.max(axis=0) + base.min(axis=0)) / 2.0
    height = top - rim.depth
    slab = points[np.abs(points[:, 2] - height) <= rim.slab][:, :2] - center
    radii, azimuths = np.linalg.norm(slab, axis=1), np.arctan2(slab[:, 1], slab[:, 0])
    grasps = []
    for azimuth in np.arange(_RIM_AZIMUTHS) * (2.0 * math.pi / _RIM_AZIMUTHS):
        apart = np.abs((azimuths - azimuth + math.pi) % (2.0 * math.pi) - math.pi)
        wall = radii[apart <= math.pi / _RIM_AZIMUTHS * 1.5]
        if not len(wall) or wall.max() - wall.min() > rim.thickest:
            continue
        radius = (wall.max() + wall.min()) / 2.0
        outward = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        position = np.array([*center, height]) + radius * outward
        for lean, drawback in _RIM_LEANS:
            # The hand's x axis is the outward radius at yaw = azimuth - 90 degrees.
            rotation = downward(azimuth - math.pi / 2.0, lean)
            grasps.append(Grasp(HandPose(position, rotation), float(np.ptp(wall)), drawback))
    return grasps


def bar_grasp(center: Floats, bar: Floats, approach: Floats, depth: float = 0.0) -> Grasp:
    """Grip of a bar at `center` [3] that runs along `bar` [3], coming along `approach` [3].

    depth: how far the grip site goes past the bar's middle, m.
    """
    rotation = from_axes(np.cross(approach, bar), approach)
    return Grasp(HandPose(center + depth * rotation[:, 2], rotation), 0.0)


def ranked(grasps: list[Grasp], scene: GraspScene) -> list[Grasp]:
    """Candidates, best first, each with the fingers the way round that turns the hand less."""
    ways = [replace(g, pose=g.pose.nearest_way(scene.rotation)) for g in grasps]
    return sorted(ways, key=lambda grasp: cost(grasp, scene))


def cost(grasp: Grasp, scene: GraspScene) -> float:
    """How bad a candidate is: its turn in radians, what it would touch, how far it reaches."""
    turn = rotation_angle(scene.rotation, grasp.pose.rotation)
    touched = sum(points_in_hand(pose, scene.obstacles) for pose in way_in(grasp.pose))
    reach = reach_cost(grasp.pose, scene.base)
    return 0.6 * turn + 0.5 * touched + reach + grasp.drawback


def way_in(pose: HandPose) -> list[HandPose]:
    """Poses on the way to a grip: down to `APPROACH` before it, then along the approach."""
    before = pose.backed_off(APPROACH)
    lifted = [before.moved(np.array([0.0, 0.0, height])) for height in _LIFTED]
    return [pose, pose.backed_off(APPROACH / 2.0), before, *lifted]


def reach_cost(pose: HandPose, base: Floats) -> float:
    """Cost of a nearly straight elbow, at which the controller cannot draw the arm back."""
    wrist = pose.position - _WRIST_DISTANCE * pose.approach
    distance = np.linalg.norm(wrist - base - np.array([0.0, 0.0, _SHOULDER_HEIGHT]))
    return 15.0 * max(0.0, float(distance) - _COMFORTABLE_REACH)


def near(points: Floats, center: Floats) -> Floats:
    """Those of the points [N, 3] that a hand at `center` [3] could touch; every second of them."""
    return points[np.linalg.norm(points[:, :2] - center[:2], axis=1) < _TOUCHABLE][::2]


def distinct(grasps: list[Grasp]) -> Iterator[Grasp]:
    """Of ranked candidates, those that differ from all before: what to try after a miss."""
    seen: list[HandPose] = []
    for grasp in grasps:
        pose = grasp.pose
        if all(
            np.linalg.norm(pose.position - other.position) > 0.012
            or rotation_angle(pose.rotation, other.rotation) > 0.25
            for other in seen
        ):
            seen.append(pose)
            yield grasp
