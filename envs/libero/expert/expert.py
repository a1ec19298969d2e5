"""The scripted expert: carries out the benchmark's goals, knowing the whole state."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.arm import Arm
from helmsight.envs.libero.expert.fixtures import (
    Steps,
    close_door,
    close_drawer,
    open_drawer,
    turn_knob,
)
from helmsight.envs.libero.expert.focus import focus_of
from helmsight.envs.libero.expert.goal import Predicate
from helmsight.envs.libero.expert.pick_and_place import (
    Held,
    drop_into,
    held,
    pick,
    place_on,
    support_height,
)
from helmsight.envs.libero.expert.scene import Scene
from helmsight.envs.libero.expert.special import (
    handle_grasps,
    lay_on_rack,
    put_inside,
    slide_into,
)
from helmsight.envs.libero.simulator import LiberoSimulator

_ROUNDS = 3
_TRIES = 3
_REST_HEIGHT = 0.06
# How far from the middle of a place two things go that share it, and how much room is enough (m).
_BESIDE = 0.058
_ENOUGH = 0.03


class LiberoExpert:
    """Drives one episode; call `act` once a control step from its first observation on.

    It knows the goal as the benchmark's file states it and everything's true pose, no picture. The
    next episode needs a new expert. `succeeded` latches: a book in the caddy's compartment counts
    only on its way down. `finished` once the goal has held and the hand has drawn back.
    """

    def __init__(self) -> None:
        self.succeeded = False
        self.finished = False
        self._arm: Arm | None = None
        self._predicate: Predicate | None = None
        self._motion: Generator[NDArray[np.float32], None, None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether the hand moves through free space now, where a push would do no harm."""
        return self._arm is not None and self._arm.free

    def focus(self) -> NDArray[np.float32]:
        """`focus_of` [6] the predicate that the expert brings about now.

        Raises RuntimeError before the first `act`.
        """
        if self._arm is None or self._predicate is None:
            raise RuntimeError("call act first: before it the expert deals with nothing")
        return focus_of(self._arm.scene, self._predicate)

    def act(self, simulator: LiberoSimulator) -> NDArray[np.float32]:
        """The action [7] of the next control step; holds still when finished."""
        if self._motion is None:
            self._arm = Arm(Scene(simulator))
            self._motion = self._carry_out(self._arm)
        self.succeeded |= simulator.is_success()
        action = next(self._motion)
        return np.clip(action, -1.0, 1.0)

    def _carry_out(self, arm: Arm) -> Generator[NDArray[np.float32], None, None]:
        scene = arm.scene
        for _ in range(_ROUNDS):
            for predicate in scene.goal:
                if not scene.holds(predicate) or self._predicate is None:
                    self._predicate = predicate
                # Not on to the next before this one holds: a drawer is not closed without its bowl.
                for _ in range(_TRIES):
                    if self.succeeded or scene.holds(predicate):
                        break
                    yield from achieve(arm, predicate)
            if self.succeeded:
                break
        self.finished = self.succeeded
        rest = scene.hand().moved(np.array([0.0, 0.0, _REST_HEIGHT]))
        yield from arm.move_to(rest, speed=0.6, tolerance=0.02, steps=12)
        while True:
            yield from arm.stay(1)


def achieve(arm: Arm, predicate: Predicate) -> Steps:
    """Bring one predicate about, or do what can be done towards it."""
    scene, subject = arm.scene, predicate.subject
    if predicate.name in ("on", "in"):
        yield from _put(arm, subject, predicate.place or "")
    elif predicate.name == "turnon":
        yield from turn_knob(arm, f"{subject}_button")
    else:
        joint = scene.region_joint(subject) if scene.is_region(subject) else None
        if joint is None:
            if predicate.name != "close":
                raise ValueError(f"the expert cannot {predicate.name} {subject}")
            yield from close_door(arm, f"{subject}_microjoint", subject)
        elif predicate.name == "open":
            yield from open_drawer(arm, joint)
        else:
            yield from close_drawer(arm, joint)


def _put(arm: Arm, name: str, place: str) -> Steps:
    scene = arm.scene
    kind = _kind_of(scene, place)
    if kind == "drawer":
        joint = scene.region_joint(place)
        assert joint is not None
        if scene.joint_angle(joint) > -0.12:
            yield from open_drawer(arm, joint)
    by_handle = kind == "chamber"
    picked = yield from pick(arm, name, (lambda: handle_grasps(scene, name)) if by_handle else None)
    if picked:
        yield from _PLACEMENTS[kind](arm, held(scene, name), place)


def _kind_of(scene: Scene, place: str) -> str:
    """How a thing is put there: on, drawer, container, chamber, rack or slot."""
    if not scene.is_region(place):
        return "on"
    parent = scene.parent(place)
    category = scene.category(parent) if parent is not None else "table"
    if scene.region_joint(place) is not None:
        return "drawer"
    kinds = {"basket": "container", "microwave": "chamber", "rack": "rack", "caddy": "slot"}
    return next((kind for word, kind in kinds.items() if word in category), "on")


def _on(arm: Arm, load: Held, place: str) -> Steps:
    scene = arm.scene
    if scene.is_region(place):
        center, _, half = scene.region(place)
        parent = scene.parent(place)
        otherwise = float(center[2] - half[2])
    else:
        center, parent = scene.position(place), place
        otherwise = float(center[2])
    own = scene.points(load.name)
    lowest = own[own[:, 2] <= own[:, 2].min() + 0.01][:, :2]
    footprint = lowest - (lowest.max(axis=0) + lowest.min(axis=0)) / 2.0
    if parent is None:
        support = scene.table_height()
    else:
        support = support_height(scene.points(parent), footprint, center[:2], otherwise)
    yield from place_on(arm, load, free_spot(scene, load, place, center), support)


def free_spot(scene: Scene, load: Held, place: str, center: np.ndarray) -> np.ndarray:
    """Where in a place [2] a thing goes: the middle, or beside it where two have to fit."""
    if sum(predicate.place == place for predicate in scene.goal) < 2:
        return center[:2]
    parent = scene.parent(place)
    others = scene.obstacles(load.name, *([parent] if parent else []))[:, :2]
    own = scene.points(load.name)[:, :2] - scene.position(load.name)[:2]
    spots = [
        center[:2] + _BESIDE * np.array([np.cos(angle), np.sin(angle)])
        for angle in np.arange(8) * np.pi / 4.0
    ]
    return max(spots, key=lambda spot: _clearance(own[::8] + spot, others[::4]))


def _clearance(points: np.ndarray, others: np.ndarray) -> float:
    """Least distance between two sets of points [N, 2] and [M, 2], as far as it matters (m)."""
    gaps = np.linalg.norm(points[:, None] - others[None], axis=-1)
    return min(_ENOUGH, float(gaps.min())) if gaps.size else _ENOUGH


def _in_container(arm: Arm, load: Held, place: str) -> Steps:
    parent = arm.scene.parent(place)
    assert parent is not None
    yield from _into(arm, load, place, arm.scene.points(parent), floor=0.02)


def _in_drawer(arm: Arm, load: Held, place: str) -> Steps:
    scene = arm.scene
    joint = scene.region_joint(place)
    assert joint is not None
    yield from _into(arm, load, place, scene.points_of_body(scene.joint_body(joint)), floor=0.008)


def _into(arm: Arm, load: Held, place: str, points: np.ndarray, floor: float) -> Steps:
    """Drop into what has these surface points [N, 3] and a floor so thick (m)."""
    heights = points[:, 2]
    yield from drop_into(arm, load, place, float(heights.min()) + floor, float(heights.max()))


def _in_chamber(arm: Arm, load: Held, place: str) -> Steps:
    scene = arm.scene
    parent = scene.parent(place)
    assert parent is not None
    inward = scene.rotation(parent)[:, 1]
    floor = float(scene.position(parent)[2]) + 0.024
    yield from put_inside(arm, load, place, inward, floor)


_PLACEMENTS = {
    "on": _on,
    "container": _in_container,
    "drawer": _in_drawer,
    "chamber": _in_chamber,
    "rack": lay_on_rack,
    "slot": slide_into,
}
