"""A simulator without physics or OpenGL: an ideal bicycle on a lot painted flat.

The reference that a dynamic simulator is compared with, and what runs where no OpenGL does: its
cameras see the bird's-eye label painted on the ground below a plain sky.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.birds_eye import CELL, RANGE, SIZE, BirdsEyeLabeller
from helmsight.envs.parking.motion_model import bicycle_motion
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import (
    CameraFrames,
    SensorReading,
    VehicleCommand,
    VehicleState,
)
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO
from helmsight.envs.spec import CameraSpec

THROTTLE = 2.5
BRAKE = 6.0
STEER_RATE = 1.5
SUBSTEPS = 5
SPEED_NOISE = 0.01

_SKY = (180, 200, 225)
_COLOURS = np.array([(90, 90, 95), (160, 40, 40), (60, 150, 60)], np.uint8)


class KinematicSimulator:
    """`ParkingSimulator` with an ideal bicycle; throttle 2.5 m/s^2, brake 6 m/s^2, 1.5 rad/s."""

    def __init__(self) -> None:
        self._scenario: Scenario | None = None

    def reset(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._labeller = BirdsEyeLabeller(scenario)
        self._obstacles = scenario.obstacles()
        self._noise = np.random.default_rng(scenario.seed)
        self._state = VehicleState(scenario.start, 0.0, 0.0, (0.0, 0.0), 0.0)
        self._collision: str | None = None

    def step(self, command: VehicleCommand) -> None:
        duration = CONTROL_PERIOD / SUBSTEPS
        for _ in range(SUBSTEPS):
            self._drive(command, duration)
            if self._collision is None:
                self._collision = self._first_hit()

    def vehicle_state(self) -> VehicleState:
        return self._state

    def sensors(self) -> SensorReading:
        state = self._state
        speed = state.speed * (1.0 + SPEED_NOISE * float(self._noise.standard_normal()))
        return SensorReading(speed, state.acceleration, state.yaw_rate, state.steering_angle)

    def collision(self) -> str | None:
        return self._collision

    def render(self, cameras: Sequence[CameraSpec], depth: bool) -> CameraFrames:
        label = self._labeller.label(self._state.pose)
        views = [_flat_view(camera, label) for camera in cameras]
        return CameraFrames(
            np.stack([colour for colour, _ in views]),
            np.stack([distance for _, distance in views]) if depth else None,
        )

    def close(self) -> None:
        self._scenario = None

    def _drive(self, command: VehicleCommand, duration: float) -> None:
        state = self._state
        if command.acceleration >= 0.0:
            gear = -1.0 if command.reverse else 1.0
            speed = state.speed + gear * THROTTLE * command.acceleration * duration
        else:
            slowed = abs(state.speed) + BRAKE * command.acceleration * duration
            speed = math.copysign(max(slowed, 0.0), state.speed)
        wanted = command.steer * EGO.max_steering_angle
        change = max(
            -STEER_RATE * duration, min(STEER_RATE * duration, wanted - state.steering_angle)
        )
        angle = state.steering_angle + change
        motion = bicycle_motion((state.speed + speed) / 2.0, angle, duration)
        self._state = VehicleState(
            pose=state.pose.transform(motion),
            speed=speed,
            yaw_rate=motion.yaw / duration,
            acceleration=((speed - state.speed) / duration, speed * motion.yaw / duration),
            steering_angle=angle,
        )

    def _first_hit(self) -> str | None:
        scenario, pose = self._scenario, self._state.pose
        assert scenario is not None
        footprint = EGO.footprint(pose)
        for index, obstacle in enumerate(self._obstacles):
            near = math.hypot(obstacle.center.x - pose.x, obstacle.center.y - pose.y) < 8.0
            if near and footprint.overlaps(obstacle):
                return "car" if index < len(scenario.cars) else "box"
        return None


def _flat_view(
    camera: CameraSpec, label: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colour [H, W, 3] and depth along the optical axis [H, W] of the label seen as ground."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = np.stack(
        [
            (columns - camera.width / 2.0) / camera.focal_length,
            (rows - camera.height / 2.0) / camera.focal_length,
            np.ones_like(rows),
        ],
        axis=-1,
    )  # [H, W, 3] in the optical frame
    directions = rays @ camera.rotation().T  # [H, W, 3] in the vehicle frame
    downwards = -directions[..., 2]
    depth = np.where(downwards > 1e-6, camera.position[2] / np.maximum(downwards, 1e-6), np.inf)
    reach = np.minimum(depth, 1e6)
    x = camera.position[0] + reach * directions[..., 0]
    y = camera.position[1] + reach * directions[..., 1]
    row = np.floor((RANGE - x) / CELL).astype(np.int64)
    column = np.floor((RANGE - y) / CELL).astype(np.int64)
    inside = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE) & (downwards > 1e-6)
    colour = np.empty((camera.height, camera.width, 3), np.uint8)
    colour[:] = _COLOURS[0]
    colour[downwards <= 1e-6] = _SKY
    colour[inside] = _COLOURS[label[row[inside], column[inside]]]
    return colour, depth.astype(np.float32)
