"""Driving the ego car: from a command to steering, motors and brakes, and back to its state."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.mujoco.model import (
    EFFECTIVE_MASS,
    TIMESTEP,
    WHEEL_RADIUS,
    Indices,
    bicycle_angle,
    wheel_angles,
)
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO

FULL_THROTTLE = 2.5  # m/s^2
FULL_BRAKE = 6.0  # m/s^2
ROLLING_RESISTANCE = 0.15  # m/s^2
# The throttle fades out towards this speed, as a parking assistant's limiter does it.
SPEED_LIMIT = 8.0  # m/s
# Of the bicycle's angle. It decides what can be parked: at 0.8 rad/s the expert fails often.
STEERING_RATE = 1.5  # rad/s
# Steering follows its rate limit, and collisions are looked for, once in so many timesteps.
STEPS_A_CHECK = 2


class Drivetrain:
    """Writes commands into a model's actuators and brakes; remembers the steering's set point."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, indices: Indices) -> None:
        self._model, self._data, self._indices = model, data, indices
        self._wheel_dofs = np.array(indices.wheel_dofs)
        self._set_point = 0.0

    def release(self) -> None:
        """Back to straight wheels with neither throttle nor brake."""
        self._set_point = 0.0
        self._data.ctrl[:] = 0.0
        self._set_friction(ROLLING_RESISTANCE)

    def command(self, command: VehicleCommand) -> None:
        """Set throttle and brake for the control period."""
        throttle, brake = max(command.acceleration, 0.0), max(-command.acceleration, 0.0)
        # Throttle pays for the rolling resistance, so that 1 gives FULL_THROTTLE.
        wanted = throttle * (FULL_THROTTLE + ROLLING_RESISTANCE)
        direction = -1.0 if command.reverse else 1.0
        speed = direction * forward_speed(self._data)
        fade = min(max(SPEED_LIMIT - speed, 0.0), 1.0)
        torque = direction * fade * wanted * EFFECTIVE_MASS * WHEEL_RADIUS / 2.0
        self._data.ctrl[2:4] = torque
        # Brakes as friction of the wheel joints: no creep at rest and no jitter.
        self._set_friction(ROLLING_RESISTANCE + brake * FULL_BRAKE)

    def steer(self, steer: float) -> None:
        """Move the set point by one check's worth of the steering rate towards the command."""
        target = steer * EGO.max_steering_angle
        reach = STEERING_RATE * TIMESTEP * STEPS_A_CHECK
        self._set_point += min(max(target - self._set_point, -reach), reach)
        self._data.ctrl[0:2] = wheel_angles(self._set_point)

    def _set_friction(self, deceleration: float) -> None:
        torque = deceleration * EFFECTIVE_MASS * WHEEL_RADIUS / 4.0
        self._model.dof_frictionloss[self._wheel_dofs] = torque


def heading(data: mujoco.MjData) -> float:
    """Yaw of the ego car, radians."""
    w, x, y, z = data.qpos[3:7]
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def forward_speed(data: mujoco.MjData) -> float:
    """Speed of the rear axle along the body, m/s."""
    yaw = heading(data)
    return float(math.cos(yaw) * data.qvel[0] + math.sin(yaw) * data.qvel[1])


def read_state(
    data: mujoco.MjData, indices: Indices, previous_velocity: tuple[float, float]
) -> VehicleState:
    """The car's true motion; acceleration is the mean over the last control period.

    `previous_velocity` is the rear axle's (x, y) in the lot frame at the period's beginning.
    """
    yaw = heading(data)
    cos, sin = math.cos(yaw), math.sin(yaw)
    vx, vy = float(data.qvel[0]), float(data.qvel[1])
    ax = (vx - previous_velocity[0]) / CONTROL_PERIOD
    ay = (vy - previous_velocity[1]) / CONTROL_PERIOD
    left, right = indices.steering_qpos
    return VehicleState(
        pose=Pose(float(data.qpos[0]), float(data.qpos[1]), yaw),
        speed=cos * vx + sin * vy,
        yaw_rate=float(data.qvel[5]),
        acceleration=(cos * ax + sin * ay, -sin * ax + cos * ay),
        steering_angle=bicycle_angle(float(data.qpos[left]), float(data.qpos[right])),
    )
