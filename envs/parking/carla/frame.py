"""CARLA's frame against the lot's: the only place where left-handed degrees are converted.

CARLA's world is left-handed (x forward, y right, z up) and turns clockwise in degrees; the lot
frame is right-handed and turns anticlockwise in radians. Nothing here imports `carla`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helmsight.envs.geometry import Pose, wrap_angle
from helmsight.envs.spec import CameraSpec


@dataclass(frozen=True)
class WorldPose:
    """A pose on the ground of CARLA's world: metres, yaw in degrees, clockwise seen from above."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True)
class WorldFrame:
    """Where a lot lies in CARLA's world.

    origin_x, origin_y: the lot frame's origin, metres. aisle_yaw: direction of the lot's x axis in
    CARLA's degrees.
    """

    origin_x: float
    origin_y: float
    aisle_yaw: float

    def to_world(self, pose: Pose) -> WorldPose:
        """A pose of the lot frame in CARLA's world."""
        world = self._right_handed().transform(pose)
        return WorldPose(world.x, -world.y, -math.degrees(world.yaw))

    def to_lot(self, pose: WorldPose) -> Pose:
        """A pose of CARLA's world in the lot frame."""
        return self._right_handed().relative(
            Pose(pose.x, -pose.y, wrap_angle(-math.radians(pose.yaw)))
        )

    def _right_handed(self) -> Pose:
        """The lot's frame in the world that CARLA's becomes when its y axis is turned round."""
        return Pose(self.origin_x, -self.origin_y, -math.radians(self.aisle_yaw))


def along_body(vector: tuple[float, float], yaw: float) -> tuple[float, float]:
    """A horizontal vector of CARLA's world as (forward, left) of a body with CARLA's yaw."""
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    forward = cos * vector[0] + sin * vector[1]
    right = -sin * vector[0] + cos * vector[1]
    return forward, -right


def from_body(forward: float, left: float, yaw: float) -> tuple[float, float]:
    """Inverse of `along_body`."""
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    right = -left
    return cos * forward - sin * right, sin * forward + cos * right


def camera_mount(
    camera: CameraSpec, rear_axle: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A camera on a CARLA vehicle: location (x, y, z) and rotation (pitch, yaw, roll), degrees.

    rear_axle: x of the rear axle in the actor's own frame, metres (negative: behind its origin).
    """
    x, y, z = camera.position
    location = (x + rear_axle, -y, z)
    return location, (math.degrees(camera.pitch), -math.degrees(camera.yaw), 0.0)


def camera_from_mount(
    name: str,
    location: tuple[float, float, float],
    rotation: tuple[float, float, float],
    rear_axle: float,
    fov: float,
    size: tuple[int, int],
) -> CameraSpec:
    """Inverse of `camera_mount`, with the horizontal field of view in degrees and (width, height).

    Raises ValueError for a camera that is rolled, which a `CameraSpec` cannot be.
    """
    pitch, yaw, roll = rotation
    if abs(roll) > 1e-3:
        raise ValueError(f"cameras cannot be rolled; camera {name} has roll {roll} degrees")
    return CameraSpec(
        name=name,
        position=(location[0] - rear_axle, -location[1], location[2]),
        yaw=wrap_angle(-math.radians(yaw)),
        pitch=math.radians(pitch),
        horizontal_fov=math.radians(fov),
        width=size[0],
        height=size[1],
    )
