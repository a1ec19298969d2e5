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
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.scenery import scenery
from helmsight.envs.parking.mujoco.visuals import CAR_PARTS
from helmsight.envs.parking.scenario import CAR_LENGTH, CAR_WIDTH, Scenario
from helmsight.envs.spec import CameraSpec

# Cars nearer than this show all their parts, farther ones a dozen faces, the farthest nothing.
DETAILED_WITHIN = 14.0
CARS_WITHIN = 45.0
CAR_RADIUS = math.hypot(CAR_LENGTH, CAR_WIDTH) / 2.0
BOX_RADIUS = 0.65
HIDDEN_TYPE = int(mujoco.mjtGeom.mjGEOM_NONE)
MESH_TYPE = int(mujoco.mjtGeom.mjGEOM_MESH)


class SceneIndex:
    """Knows the drawn geoms of a model as objects with a place, a size and levels of detail."""

    def __init__(self, model: mujoco.MjModel, lot: Lot) -> None:
        self._model = model
        self._pieces = scenery(lot)

    def paint(self, scenario: Scenario) -> None:
        """Give cars and boxes their colours, and remember where everything is."""
        model = self._model
        centers: list[tuple[float, float]] = []
        radii: list[float] = []
        self._names: list[str] = []
        self._ranges: list[tuple[float, float]] = []

        def add(name: str, center: tuple[float, float], radius: float, near: float, far: float) -> None:
            self._names.append(name)
            centers.append(center)
            radii.append(radius)
            self._ranges.append((near, far))

        everywhere = (-1.0, math.inf)
        for piece in self._pieces:
            add(f"look:{piece.name}", piece.center, piece.radius, *everywhere)
        for index, car in enumerate(scenario.cars):
            for part in CAR_PARTS:
                reach = (DETAILED_WITHIN, CARS_WITHIN) if part == "far" else (-1.0, DETAILED_WITHIN)
                add(f"{part}:{index}", (car.pose.x, car.pose.y), CAR_RADIUS, *reach)
                if part != "trim":
                    model.geom(f"{part}:{index}").rgba[:3] = car.colour
        for index, box in enumerate(scenario.boxes):
            add(f"cardboard:{index}", (box.pose.x, box.pose.y), BOX_RADIUS, *everywhere)
            model.geom(f"cardboard:{index}").rgba[:3] = box.colour
        self._centers, self._radii = np.array(centers), np.array(radii)
        self._near, self._far = np.array(self._ranges).T

    def attach(self, scene: mujoco.MjvScene) -> None:
        """Find the geoms in a freshly updated scene; everything but the ground is hidden."""
        ids = {self._model.geom(name).id: order for order, name in enumerate(self._names)}
        self._slots = np.full(len(self._names), -1)
        self._ego: list[int] = []
        ground = self._model.geom("look:ground").id
        for slot in range(scene.ngeom):
            geom = scene.geoms[slot]
            if geom.objid in ids:
                self._slots[ids[geom.objid]] = slot
            elif geom.objid == ground:
                continue
            elif self._model.geom(geom.objid).name.startswith("ego_"):
                self._ego.append(slot)
            geom.type = HIDDEN_TYPE
        self._shown = np.zeros(len(self._names), bool)

    def show(
        self, geoms: tuple[mujoco.MjvGeom, ...], camera: CameraSpec, vehicle: Pose, ego: bool
    ) -> None:
        """Show what a camera on a vehicle can see, hide the rest."""
        visible = self.visible(camera, vehicle)
        for order in np.flatnonzero(visible != self._shown):
            geoms[self._slots[order]].type = MESH_TYPE if visible[order] else HIDDEN_TYPE
        self._shown = visible
        for slot in self._ego:
            geoms[slot].type = MESH_TYPE if ego else HIDDEN_TYPE

    def visible(self, camera: CameraSpec, vehicle: Pose) -> NDArray[np.bool_]:
        """Whether each object may be in a camera's picture: circle against the view's wedge."""
        place = vehicle.transform(Pose(camera.position[0], camera.position[1], camera.yaw))
        relative = self._centers - (place.x, place.y)
        distance = np.hypot(relative[:, 0], relative[:, 1])
        seen = (distance > self._near) & (distance <= self._far)
        half = _azimuth_reach(camera)
        if half < math.pi / 2.0:
            for side in (-1.0, 1.0):
                edge = place.yaw + side * half
                # Inward normal of the wedge's edge.
                normal = np.array([side * math.sin(edge), -side * math.cos(edge)])
                seen &= relative @ normal > -self._radii
        return seen


def _azimuth_reach(camera: CameraSpec) -> float:
    """Largest azimuth off the camera's yaw in the picture; pi if it sees the ground below it."""
    tan_x = math.tan(camera.horizontal_fov / 2.0)
    tan_y = math.tan(camera.vertical_fov / 2.0)
    reach = 0.0
    for vertical in (-tan_y, tan_y):
        forward = math.cos(camera.pitch) - vertical * math.sin(camera.pitch)
        if forward <= 1e-6:
            return math.pi
        reach = max(reach, math.atan2(tan_x, forward))
    return reach
