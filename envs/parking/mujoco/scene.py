"""A scenario as lit triangles, and which of them a camera needs.

Nothing but the ego car moves within a scenario, so light is worked out here, once a vertex, and a
camera draws ranges of one buffer: those whose bounding sphere meets its view, cars beyond a few
metres as a handful of triangles.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.appearance import Appearance
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.camera_rig import CameraRig
from helmsight.envs.parking.mujoco.car_mesh import far_mesh, near_mesh
from helmsight.envs.parking.mujoco.gl import VERTEX
from helmsight.envs.parking.mujoco.ground_light import sun_direction
from helmsight.envs.parking.mujoco.mesh import Mesh, Triangles
from helmsight.envs.parking.mujoco.scenery import ground_mesh, scenery
from helmsight.envs.parking.scenario import (
    BOX_HEIGHT,
    BOX_LENGTH,
    BOX_WIDTH,
    CAR_LENGTH,
    CAR_WIDTH,
    Scenario,
)
from helmsight.envs.parking.vehicle import EGO

DETAILED_WITHIN = 9.0
CARS_WITHIN = 50.0
CAR_SPHERE = (0.7, 2.6)
BOX_SPHERE = (BOX_HEIGHT / 2.0, 0.66)
EGO_COLOUR = (0.75, 0.75, 0.78)
ORIGIN = Pose(0.0, 0.0, 0.0)
# Colours are stored halved, so that light may exceed 1 before the shader saturates.
STORED_UNIT = 127.5


class Model(NamedTuple):
    """A mesh ready for drawing, in its own frame: its plain and its patterned triangles."""

    plain: Triangles
    patterned: Triangles


class Thing(NamedTuple):
    """A model somewhere, drawn by cameras between two distances from its sphere's centre."""

    model: Model
    pose: Pose
    colour: tuple[float, float, float]
    center: tuple[float, float, float]
    radius: float
    near: float = -1.0
    far: float = math.inf


class Light:
    """Sun and sky as one camera exposes them."""

    def __init__(self, looks: Appearance) -> None:
        self.exposure = looks.camera_gain * np.array(looks.camera_white_balance)
        self.haze = np.clip(np.array(looks.haze_colour) * self.exposure, 0.0, 1.0)
        self._towards_sun = sun_direction(looks)
        self._sun = np.array(looks.sun_colour)
        self._ambient = looks.ambient

    def vertices(
        self, triangles: Triangles, pose: Pose, colour: tuple[float, float, float]
    ) -> NDArray[np.void]:
        """Triangles put at a pose on the ground, tinted and lit, as vertices [N] of `VERTEX`."""
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        facing = np.maximum(triangles.normals @ (turn.T @ self._towards_sun), 0.0)
        light = (self._ambient + facing[:, None] * self._sun) * self.exposure
        tint = np.where(triangles.tinted[:, None], np.array(colour), 1.0)
        shade = np.clip(triangles.colours * tint * light * STORED_UNIT, 0.0, 255.0)
        vertices = np.zeros(len(triangles), VERTEX)
        vertices["position"] = triangles.positions @ turn.T + (pose.x, pose.y, 0.0)
        vertices["colour"][:, :3] = shade
        vertices["coordinates"] = triangles.coordinates
        return vertices


class Layer:
    """Vertices of one kind (plain or patterned) of all things, and each thing's range of them."""

    def __init__(self, light: Light, things: list[Thing], patterned: bool) -> None:
        parts = [thing.model.patterned if patterned else thing.model.plain for thing in things]
        self.vertices = np.concatenate(
            [
                light.vertices(part, thing.pose, thing.colour)
                for part, thing in zip(parts, things, strict=True)
            ]
        )
        counts = np.array([len(part) for part in parts], np.int32)
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
        self._count = counts

    def ranges(self, things: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First vertex and number of vertices of each of some things; those without any left out.

        Drivers may take an empty range for the end of the list.
        """
        count = self._count[things]
        some = count > 0
        return self._first[things][some], count[some]


class Scene:
    """All that is drawn of a scenario but the sky and the ego car."""

    def __init__(self, scenario: Scenario) -> None:
        self.light = Light(scenario.appearance)
        things = _things(scenario)
        self.plain = Layer(self.light, things, patterned=False)
        self.patterned = Layer(self.light, things, patterned=True)
        ground = _model_of_ground(scenario.lot).patterned
        self.ground = self.light.vertices(ground, ORIGIN, (1.0, 1.0, 1.0))
        self._centers = np.array([thing.center for thing in things])
        self._radii = np.array([thing.radius for thing in things])
        self._near = np.array([thing.near for thing in things])
        self._far = np.array([thing.far for thing in things])

    def in_view(self, rig: CameraRig, vehicle: Pose) -> list[NDArray[np.intp]]:
        """What each camera draws, the nearest first: what it hides is then not drawn in vain."""
        distance, inside = rig.distances_and_visibility(vehicle, self._centers, self._radii)
        drawn = inside & (distance > self._near) & (distance <= self._far)
        order = np.argsort(np.where(drawn, distance - self._radii, np.inf), axis=1)
        return [row[:count] for row, count in zip(order, drawn.sum(axis=1), strict=True)]

    def ego(self, vehicle: Pose) -> NDArray[np.void]:
        """The ego car's vertices, for cameras that see it."""
        middle = vehicle.transform(Pose(EGO.center_offset, 0.0, 0.0))
        return self.light.vertices(_ego_model().plain, middle, EGO_COLOUR)


def _things(scenario: Scenario) -> list[Thing]:
    white = (1.0, 1.0, 1.0)
    things = [
        Thing(model, ORIGIN, white, center, radius, far=within)
        for model, center, radius, within in _scenery_models(scenario.lot)
    ]
    near_car, far_car, box_model = _movable_models()
    height, radius = CAR_SPHERE
    for car in scenario.cars:
        place = (car.pose, car.colour, (car.pose.x, car.pose.y, height), radius)
        things.append(Thing(near_car, *place, far=DETAILED_WITHIN))
        things.append(Thing(far_car, *place, near=DETAILED_WITHIN, far=CARS_WITHIN))
    height, radius = BOX_SPHERE
    for box in scenario.boxes:
        center = (box.pose.x, box.pose.y, height)
        things.append(Thing(box_model, box.pose, box.colour, center, radius))
    return things


def _model(mesh: Mesh) -> Model:
    return Model(mesh.plain_triangles, mesh.patterned_triangles)


@functools.lru_cache(maxsize=4)
def _scenery_models(
    lot: Lot,
) -> tuple[tuple[Model, tuple[float, float, float], float, float], ...]:
    return tuple(
        (_model(piece.mesh), piece.center, piece.radius, piece.within) for piece in scenery(lot)
    )


@functools.lru_cache(maxsize=4)
def _model_of_ground(lot: Lot) -> Model:
    return _model(ground_mesh(lot))


@functools.lru_cache(maxsize=1)
def _movable_models() -> tuple[Model, Model, Model]:
    """Near car, far car, box of white cardboard."""
    box = Mesh()
    x, y = BOX_LENGTH / 2.0, BOX_WIDTH / 2.0
    box.block((-x, -y, 0.0), (x, y, BOX_HEIGHT), "paint", pattern="cardboard")
    return _model(near_mesh()), _model(far_mesh()), _model(box)


@functools.lru_cache(maxsize=1)
def _ego_model() -> Model:
    """The near car at the ego car's measures."""
    scale = np.array([EGO.length / CAR_LENGTH, EGO.width / CAR_WIDTH, 1.0])
    plain, patterned = _model(near_mesh())
    stretched = Triangles(
        plain.positions * scale,
        plain.normals,
        plain.colours,
        plain.tinted,
        plain.coordinates,
    )
    return Model(stretched, patterned)
