"""The simulator's true state as the expert asks for it: objects, regions, joints, the hand.

The one file of the expert that knows robosuite's names. Everything is in the world frame in metres
and radians, read at the time of the call.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import mujoco
import numpy as np

from helmsight.envs.libero.expert.goal import Predicate, parse_goal
from helmsight.envs.libero.expert.hand import Floats, HandPose
from helmsight.envs.libero.instructions import Goal
from helmsight.envs.libero.simulator import LiberoSimulator

_HAND_SITE = "gripper0_grip_site"
_BASE_BODY = "robot0_base"
_POINT_SPACING = 0.006
_MOST_POINTS_A_SIDE = 13
_NO_GEOMS = np.zeros((0, 3))


class Scene:
    """One episode's world. Made anew after each reset, because that may replace the model."""

    def __init__(self, simulator: LiberoSimulator) -> None:
        self._simulator = simulator
        self._environment: Any = simulator.robosuite
        self._model: mujoco.MjModel = simulator.sim.model._model
        self._data: mujoco.MjData = simulator.sim.data._data
        self._local_points: dict[int, Floats] = {}

    @cached_property
    def goal(self) -> list[Predicate]:
        """The goal's predicates in the order in which to bring them about."""
        return self.in_order(self._simulator.goal)

    def in_order(self, goal: Goal) -> list[Predicate]:
        """Any goal's predicates in the order in which to bring them about."""
        sites = self._environment.object_sites_dict
        return parse_goal(goal, {name for name in sites if self.stands_on_table(name)})

    @cached_property
    def names(self) -> list[str]:
        """Objects and fixtures, but not tables and floors."""
        return list(self._environment.obj_body_id)

    def category(self, name: str) -> str:
        """What kind of thing an object or fixture is, as `akita_black_bowl`."""
        return str(self._environment.get_object(name).category_name)

    def succeeded(self) -> bool:
        """Whether the whole goal holds now."""
        return self._simulator.is_success()

    def holds(self, predicate: Predicate) -> bool:
        """Whether one predicate holds now."""
        return bool(self._environment._eval_predicate(predicate.words()))

    # The robot.

    @cached_property
    def base(self) -> Floats:
        """[3], the robot's base."""
        return np.array(self._data.body(_BASE_BODY).xpos)

    def hand(self) -> HandPose:
        site = self._data.site(_HAND_SITE)
        return HandPose(np.array(site.xpos), np.array(site.xmat).reshape(3, 3))

    # Objects, fixtures and their joints.

    def position(self, name: str) -> Floats:
        """[3], origin of an object or fixture."""
        return np.array(self._data.xpos[self._environment.obj_body_id[name]])

    def position_of_any(self, name: str) -> Floats:
        """[3], origin of an object or fixture, or the centre of a region."""
        return self.region(name)[0] if self.is_region(name) else self.position(name)

    def rotation(self, name: str) -> Floats:
        """[3, 3], an object's or fixture's axes."""
        return np.array(self._data.xmat[self._environment.obj_body_id[name]]).reshape(3, 3)

    def points(self, name: str) -> Floats:
        """Points [N, 3] on the colliding surface of an object or fixture with all its parts."""
        body = self._environment.obj_body_id[name]
        root = self._model.body_rootid[body]
        return self._points_of(np.flatnonzero(self._model.body_rootid == root))

    def points_of_body(self, body: int) -> Floats:
        """Points [N, 3] on the colliding surface of one body alone."""
        return self._points_of(np.array([body]))

    def obstacles(self, *without: str) -> Floats:
        """Surface points [N, 3] of everything but tables, the robot and the things named."""
        parts = [self.points(name) for name in self.names if name not in without]
        return np.concatenate([_NO_GEOMS, *parts])

    def table_height(self) -> float:
        """Height on which the lowest thing stands, m."""
        return float(self.obstacles()[:, 2].min())

    def geoms_of_body(self, body: int) -> list[tuple[Floats, Floats, Floats]]:
        """Colliding boxes of a body in the world: centre [3], rotation [3, 3], half sizes [3]."""
        found = []
        for geom in self._geoms_of(np.array([body])):
            rotation = self._data.geom_xmat[geom].reshape(3, 3)
            aabb = self._model.geom_aabb[geom]
            found.append((self._data.geom_xpos[geom] + rotation @ aabb[:3], rotation, aabb[3:]))
        return found

    def body_pose(self, body: int) -> tuple[Floats, Floats]:
        """Position [3] and rotation [3, 3] of a body."""
        return np.array(self._data.xpos[body]), np.array(self._data.xmat[body]).reshape(3, 3)

    def joint_angle(self, joint: str) -> float:
        """Position of a hinge (rad) or slide (m)."""
        return float(self._data.joint(joint).qpos[0])

    def joint_body(self, joint: str) -> int:
        """The body that a joint moves."""
        return int(self._model.jnt_bodyid[self._model.joint(joint).id])

    # Regions.

    def is_region(self, name: str) -> bool:
        return name in self._environment.object_sites_dict

    def parent(self, region: str) -> str | None:
        """The object or fixture that a region belongs to; None for one of a table."""
        name = self._environment.object_sites_dict[region].parent_name
        return name if name in self._environment.obj_body_id else None

    def stands_on_table(self, region: str) -> bool:
        return self.parent(region) is None

    def region(self, name: str) -> tuple[Floats, Floats, Floats]:
        """A region's centre [3], rotation [3, 3] and half sizes [3] along its own axes."""
        site = self._data.site(name)
        size = np.array(self._environment.object_sites_dict[name].size, float)
        return np.array(site.xpos), np.array(site.xmat).reshape(3, 3), size

    def region_joint(self, name: str) -> str | None:
        """The joint of the part that a region moves with, as that of a drawer."""
        body = self._model.site_bodyid[self._model.site(name).id]
        first, count = self._model.body_jntadr[body], self._model.body_jntnum[body]
        if count != 1 or self._model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE:
            return None
        return str(self._model.joint(first).name)

    def _points_of(self, bodies: np.ndarray) -> Floats:
        parts = []
        for geom in self._geoms_of(bodies):
            rotation = self._data.geom_xmat[geom].reshape(3, 3)
            parts.append(self._points_of_geom(geom) @ rotation.T + self._data.geom_xpos[geom])
        return np.concatenate(parts) if parts else _NO_GEOMS

    def _geoms_of(self, bodies: np.ndarray) -> np.ndarray:
        model = self._model
        collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        return np.flatnonzero(np.isin(model.geom_bodyid, bodies) & collides)

    def _points_of_geom(self, geom: int) -> Floats:
        if geom not in self._local_points:
            aabb = self._model.geom_aabb[geom]
            self._local_points[geom] = box_points(aabb[3:]) + aabb[:3]
        return self._local_points[geom]


def box_points(half: Floats) -> Floats:
    """Points [N, 3] all over the surface of a box with half sizes [3], about its centre.

    They are 6 mm apart, or a twelfth of the side where that is more; the corners are among them.
    """
    counts = np.ceil(2.0 * half / _POINT_SPACING).astype(int) + 1
    counts = np.clip(counts, 2, _MOST_POINTS_A_SIDE)
    axes = [np.linspace(-side, side, count) for side, count in zip(half, counts, strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    on_surface = (np.abs(np.abs(lattice) - half) < 1e-9).any(axis=1)
    return lattice[on_surface]
