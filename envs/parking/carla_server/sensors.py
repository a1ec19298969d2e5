"""What the sensors of an episode send at a tick."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.carla.frame import camera_from_mount
from helmsight.envs.parking.carla_server import streams
from helmsight.envs.parking.carla_server.actors import Actor, Actors
from helmsight.envs.parking.carla_server.blueprints import (
    COLLISION_SENSOR,
    DEPTH_CAMERA,
    GNSS_SENSOR,
    IMU_SENSOR,
    RGB_CAMERA,
    SEMANTIC_CAMERA,
)
from helmsight.envs.parking.carla_server.lot_world import LotWorld
from helmsight.envs.parking.carla_server.streams import Moment
from helmsight.envs.parking.carla_server.wire import CallRefused
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.vehicle import EGO
from helmsight.envs.spec import CameraSpec

# A stream's number and what is sent on it.
Message = tuple[int, bytes]

PICTURES = {
    RGB_CAMERA: streams.RGB,
    DEPTH_CAMERA: streams.DEPTH,
    SEMANTIC_CAMERA: streams.SEMANTIC,
}
GRAVITY = 9.81
SIDES = (16, 1024)
# Tags of CARLA's semantic camera.
ROAD, POLE, SKY, CAR, STATIC = 1, 6, 11, 14, 20
METRES_A_DEGREE = 111_319.5
# What CARLA calls the level's parts, by what the lot calls them.
HIT_KINDS = {
    "kerb": "static.sidewalk",
    "post": "static.pole",
    "barrier": "static.wall",
}


def camera_spec(actor: Actor) -> CameraSpec:
    """The camera that a sensor actor is; CallRefused for values that no camera here has."""
    try:
        width = int(actor.attributes["image_size_x"])
        height = int(actor.attributes["image_size_y"])
        fov = float(actor.attributes["fov"])
        camera = camera_from_mount(
            f"camera{actor.identity}",
            actor.transform.location,
            actor.transform.rotation,
            -EGO.center_offset,
            fov,
            (width, height),
        )
    except ValueError as error:
        raise CallRefused(f"sensor {actor.identity}: {error}") from None
    if not (SIDES[0] <= width <= SIDES[1] and SIDES[0] <= height <= SIDES[1]):
        raise CallRefused(f"images must have {SIDES[0]} to {SIDES[1]} pixels a side")
    if not 1.0 < fov < 170.0:
        raise CallRefused(f"fov must be in (1, 170) degrees, got {fov}")
    return camera


class SensorReadings:
    """Messages of one tick, made when they are asked for; pictures are made together."""

    def __init__(self, world: LotWorld, actors: Actors, moment: Moment) -> None:
        self._world, self._actors, self._moment = world, actors, moment

    def messages(self, listening: Sequence[Actor]) -> Iterator[Message | None]:
        """What the sensors say that somebody listens to.

        None stands between parts of drawing, for a caller that has other things to do as well.
        """
        if not self._world.loaded:
            return
        for sensor in listening:
            if sensor.kind == IMU_SENSOR:
                yield sensor.stream, self._inertial(sensor)
            elif sensor.kind == GNSS_SENSOR:
                yield sensor.stream, self._satellite(sensor)
        yield from self._pictures([sensor for sensor in listening if sensor.kind in PICTURES])

    def collisions(self, listening: Sequence[Actor], port: int) -> list[tuple[int, bytes]]:
        """Collision messages for what the hero has just hit first."""
        kind, hero = self._world.collision(), self._actors.hero
        if kind is None or hero is None:
            return []
        other = self._hit_actor(kind).packed(port)
        return [
            (
                sensor.stream,
                streams.collision(
                    self._head(streams.COLLISION, sensor),
                    hero.packed(port),
                    other,
                    (0.0, 0.0, 0.0),
                ),
            )
            for sensor in listening
            if sensor.kind == COLLISION_SENSOR
        ]

    def _hit_actor(self, kind: str) -> Actor:
        """The nearest actor of the kind that was hit, or the part of the level."""
        hero = self._actors.hero
        assert hero is not None
        near = [
            actor
            for actor in self._actors
            if (kind == "car" and actor.is_vehicle and not actor.is_hero)
            or (kind == "box" and actor.is_box)
        ]
        here = hero.transform.location
        if near:
            return min(near, key=lambda actor: math.dist(actor.transform.location, here))
        return Actor(0, [0, HIT_KINDS.get(kind, "static.unknown"), []], hero.transform)

    def _head(self, kind: int, sensor: Actor) -> bytes:
        return streams.header(kind, self._moment, self._actors.world_transform(sensor))

    def _inertial(self, sensor: Actor) -> bytes:
        """At the rear axle, whatever the mount: x forward, y right, z up."""
        state = self._world.state
        forward, left = state.acceleration
        yaw = self._actors.world_transform(sensor).rotation.yaw
        compass = math.radians(yaw + 90.0) % (2.0 * math.pi)
        return streams.inertial(
            self._head(streams.IMU, sensor),
            (forward, -left, GRAVITY),
            (0.0, 0.0, -state.yaw_rate),
            compass,
        )

    def _satellite(self, sensor: Actor) -> bytes:
        """On a map whose origin lies at zero degrees: y points south."""
        x, y, z = self._actors.world_transform(sensor).location
        head = self._head(streams.GNSS, sensor)
        return streams.satellite(head, -y / METRES_A_DEGREE, x / METRES_A_DEGREE, z)

    def _pictures(self, sensors: Sequence[Actor]) -> Iterator[Message | None]:
        """Cameras of one size are drawn at once, and each view once for all kinds of camera."""
        # Told now: an actor may be destroyed while others are drawn.
        heads = {sensor.stream: self._head(PICTURES[sensor.kind], sensor) for sensor in sensors}
        views = {sensor.stream: sensor.camera for sensor in sensors if sensor.camera is not None}
        sizes = sorted({(view.width, view.height) for view in views.values()})
        for size in sizes:
            group = [s for s in sensors if (views[s.stream].width, views[s.stream].height) == size]
            # Equal but for the name: a colour and a depth camera at one place are one view.
            cameras = {_view_key(views[s.stream]): views[s.stream] for s in group}
            depth = any(sensor.kind != RGB_CAMERA for sensor in group)
            frames = yield from self._world.render_in_parts(tuple(cameras.values()), depth)
            colours = streams.bgra_of_colours(frames.colour)
            places = {key: index for index, key in enumerate(cameras)}
            for sensor in group:
                view = views[sensor.stream]
                place = places[_view_key(view)]
                if sensor.kind == RGB_CAMERA:
                    pixels = colours[place]
                else:
                    assert frames.depth is not None
                    pixels = self._pixels_of_depth(sensor.kind, view, frames.depth[place])
                fov = math.degrees(view.horizontal_fov)
                yield sensor.stream, streams.image(heads[sensor.stream], pixels, fov)

    def _pixels_of_depth(
        self, kind: str, view: CameraSpec, depth: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """BGRA [H, W, 4] of a depth or semantic camera, by the depths [H, W] that it sees."""
        if kind == DEPTH_CAMERA:
            return streams.bgra_of_depth(depth)
        tags = semantic_tags(depth, view, self._world.state.pose, self._world.scenario)
        return streams.bgra_of_tags(tags)


def semantic_tags(
    depth: NDArray[np.float32], camera: CameraSpec, vehicle: Pose, scenario: Scenario
) -> NDArray[np.uint8]:
    """CARLA's tags [H, W] of what a camera sees, told from where each pixel's point lies.

    depth: metres along the optical axis [H, W]. Points within a parked car's plan are cars, within
    a box's static things, on the ground road, elsewhere poles, hedges and walls, all tagged static.
    """
    height, width = depth.shape
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    seen = np.isfinite(depth)
    reach = np.where(seen, depth, 0.0).astype(np.float64)
    right = (columns - width / 2.0) / camera.focal_length * reach
    down = (rows - height / 2.0) / camera.focal_length * reach
    optical = np.stack([right, down, reach], axis=-1)  # [H, W, 3]
    body = optical @ camera.rotation().T + np.array(camera.position)  # in the vehicle frame
    cos, sin = math.cos(vehicle.yaw), math.sin(vehicle.yaw)
    x = vehicle.x + cos * body[..., 0] - sin * body[..., 1]
    y = vehicle.y + sin * body[..., 0] + cos * body[..., 1]
    tags = np.where(body[..., 2] > 0.06, STATIC, ROAD).astype(np.uint8)
    above = body[..., 2] > 0.06
    for car in scenario.cars:
        tags[above & _within(car.footprint(), x, y)] = CAR
    tags[~seen] = SKY
    return tags


def _within(
    plan: Rectangle, x: NDArray[np.float64], y: NDArray[np.float64], margin: float = 0.08
) -> NDArray[np.bool_]:
    """Which points lie in a rectangle grown by a margin."""
    cos, sin = math.cos(plan.center.yaw), math.sin(plan.center.yaw)
    dx, dy = x - plan.center.x, y - plan.center.y
    along, across = cos * dx + sin * dy, -sin * dx + cos * dy
    half_length, half_width = plan.length / 2.0 + margin, plan.width / 2.0 + margin
    inside: NDArray[np.bool_] = (np.abs(along) <= half_length) & (np.abs(across) <= half_width)
    return inside


def _view_key(camera: CameraSpec) -> tuple[object, ...]:
    return camera.position, camera.yaw, camera.pitch, camera.horizontal_fov
