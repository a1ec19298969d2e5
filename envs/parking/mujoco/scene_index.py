"""Which geoms a camera draws: frustum culling and levels of detail.

MuJoCo draws all geoms of a scene for every camera. A geom whose type is `mjGEOM_NONE` is skipped,
so that showing and hiding is one assignment for each geom that changes.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.mujoco.camera_rig import CameraRig
from helmsight.envs.parking.mujoco.scenery import Piece
from helmsight.envs.parking.mujoco.visuals import CAR_PARTS, EGO_PARTS
from helmsight.envs.parking.scenario import BOX_HEIGHT, Scenario

# Cars nearer than this show all their parts, farther ones a dozen faces, the farthest nothing.
DETAILED_WITHIN = 8.5
CARS_WITHIN = 40.0
CAR_SPHERE = (0.7, 2.6)
BOX_SPHERE = (BOX_HEIGHT / 2.0, 0.66)
HIDDEN_TYPE = int(mujoco.mjtGeom.mjGEOM_NONE)
MESH_TYPE = int(mujoco.mjtGeom.mjGEOM_MESH)
EVERYWHERE = (-1.0, math.inf)


class SceneIndex:
    """Knows the drawn geoms of a model as spheres with a range of distances to be drawn at."""

    def __init__(self, model: mujoco.MjModel, pieces: list[Piece]) -> None:
        self._model = model
        self._pieces = pieces

    def load(self, scenario: Scenario) -> None:
        """Give cars and boxes their colours, and remember where everything is."""
        # (geom name, centre, radius, range of distances) of each object
        things: list[tuple[str, tuple[float, float, float], float, tuple[float, float]]] = [
            (f"look:{piece.name}", piece.center, piece.radius, (-1.0, piece.within))
            for piece in self._pieces
        ]
        height, radius = CAR_SPHERE
        for index, car in enumerate(scenario.cars):
            for part in CAR_PARTS:
                near = part != "far"
                reach = (-1.0, DETAILED_WITHIN) if near else (DETAILED_WITHIN, CARS_WITHIN)
                name = f"{part}:{index}"
                things.append((name, (car.pose.x, car.pose.y, height), radius, reach))
                if part != "trim":
                    self._tint(name, car.colour)
        height, radius = BOX_SPHERE
        for index, box in enumerate(scenario.boxes):
            name = f"cardboard:{index}"
            things.append((name, (box.pose.x, box.pose.y, height), radius, EVERYWHERE))
            self._tint(name, box.colour)
        self._names = [thing[0] for thing in things]
        self._centers = np.array([thing[1] for thing in things])
        self._radii = np.array([thing[2] for thing in things])
        self._near, self._far = np.array([thing[3] for thing in things]).T

    def _tint(self, name: str, colour: tuple[float, float, float]) -> None:
        self._model.geom_rgba[self._model.geom(name).id, :3] = np.clip(colour, 0.0, 1.0)

    def attach(self, scene: mujoco.MjvScene) -> None:
        """Find the geoms in a freshly updated scene; everything but the ground is hidden."""
        slots = {scene.geoms[slot].objid: slot for slot in range(scene.ngeom)}
        for slot in range(scene.ngeom):
            scene.geoms[slot].type = HIDDEN_TYPE
        scene.geoms[slots[self._model.geom("look:ground").id]].type = MESH_TYPE
        self._geoms = [scene.geoms[slots[self._model.geom(name).id]] for name in self._names]
        self._ego = [scene.geoms[slots[self._model.geom(name).id]] for name in EGO_PARTS]
        self._shown = np.zeros(len(self._names), bool)

    def visible(self, rig: CameraRig, vehicle: Pose) -> NDArray[np.bool_]:
        """Whether each camera draws each object, [C, N]."""
        distance, inside = rig.distances_and_visibility(vehicle, self._centers, self._radii)
        return inside & (distance > self._near) & (distance <= self._far)

    def show(self, visible: NDArray[np.bool_], ego: bool) -> None:
        """Show the objects of one row of `visible` and hide the others."""
        geoms = self._geoms
        for order in np.flatnonzero(visible != self._shown).tolist():
            geoms[order].type = MESH_TYPE if visible[order] else HIDDEN_TYPE
        self._shown = visible
        for geom in self._ego:
            geom.type = MESH_TYPE if ego else HIDDEN_TYPE
