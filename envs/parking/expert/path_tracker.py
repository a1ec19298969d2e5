"""Following a path: curvature ahead, feedback on the rear axle, a trapezoidal speed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, wrap_angle
from helmsight.envs.parking.expert.path import Leg, Path
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO

Floats = NDArray[np.float64]

MAX_SPEED = 1.8
JUMP_SPEED = 1.0
SPEED_UP = 1.0  # m/s^2
SLOW_DOWN = 0.8  # m/s^2
FULL_THROTTLE, FULL_BRAKE = 2.5, 6.0  # m/s^2 at command 1 and -1

# Errors decay along the path as a critically damped spring does, with this gain in 1/m^2.
LATERAL_GAIN = 0.5
DECAY = math.sqrt(LATERAL_GAIN)  # 1/m
HEADING_GAIN = 2.0 * DECAY
# The steering follows the curvature this far ahead: half a control period and half its own lag.
PREVIEW_TIME = 0.3
STANDSTILL_STEERING = 0.06  # rad: the wheels are turned that close before the car moves off
STOP_SPEED = 0.02
# Beside its path by more than this the car has left it; tracking errors stay well below.
OFF_PATH_DISTANCE, OFF_PATH_YAW = 0.2, math.radians(8.0)
# A car this fast does not wait for its wheels; a sensor's noise at rest is a fifth of it.
ROLLING_SPEED = 0.1
LEG_END = 0.04
_BRAKE_TO_STAND = -0.4


class PathTracker:
    """Drives one path. `act` gives the command of each control period until `finished`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._legs = path.legs()
        self._speeds = [_speed_limits(leg) for leg in self._legs]
        self._leg = 0
        self._sample = 0
        self._left = 0.0  # m of the leg
        self._moving = False
        self._steer = 0.0
        self.lateral_error = 0.0
        self.heading_error = 0.0

    @property
    def finished(self) -> bool:
        """Whether the last leg was driven to its end."""
        return self._leg >= len(self._legs)

    def remaining_poses(self) -> Floats:
        """Samples [T, 3] of what is still to be driven."""
        if self.finished:
            return np.zeros((0, 3))
        rest = [leg.poses for leg in self._legs[self._leg + 1 :]]
        return np.concatenate([self._legs[self._leg].poses[self._sample :], *rest])

    def remaining_gear_changes(self, speed: float) -> int:
        """Gear changes still to be made by a car with a signed speed in m/s."""
        if self.finished:
            return 0
        changes = len(self._legs) - 1 - self._leg
        return changes + (self._legs[self._leg].direction * speed < -ROLLING_SPEED)

    @property
    def off_path(self) -> bool:
        """Whether the car, where it was found last, had left its path."""
        beside = abs(self.lateral_error) > OFF_PATH_DISTANCE
        return beside or abs(self.heading_error) > OFF_PATH_YAW

    def act(self, state: VehicleState) -> VehicleCommand:
        """The command for the next control period."""
        self.locate(state)
        if self.finished:
            return VehicleCommand(_BRAKE_TO_STAND, self._steer, state.speed < 0.0)
        leg = self._legs[self._leg]
        self._steer = self._steering(leg, state)
        wanted = self._wanted_speed(leg, state)
        acceleration = self._acceleration(leg, state, wanted)
        return VehicleCommand(acceleration, self._steer, leg.direction < 0)

    def locate(self, state: VehicleState) -> None:
        """Find the car on the path; what it need not drive any more is left behind.

        A leg has ended where the car stands at its end, or already rolls the other way.
        """
        while not self.finished:
            leg = self._legs[self._leg]
            self._left = self._project(leg, state)
            if self._left >= LEG_END or leg.direction * state.speed >= STOP_SPEED:
                return
            self._leg, self._sample, self._moving = self._leg + 1, 0, False

    def _project(self, leg: Leg, state: VehicleState) -> float:
        """Project the rear axle on the leg, never backwards; metres left along the leg."""
        window = slice(self._sample, self._sample + 20)
        offsets = leg.poses[window, :2] - np.array(state.pose[:2])
        self._sample += int(np.argmin((offsets * offsets).sum(axis=1)))
        nearest = Pose(*map(float, leg.poses[self._sample]))
        local = nearest.relative(state.pose)
        self.lateral_error, self.heading_error = local.y, wrap_angle(local.yaw)
        beyond = leg.direction * local.x
        return leg.length - float(leg.distance[self._sample]) - beyond

    def _steering(self, leg: Leg, state: VehicleState) -> float:
        """Steering command: curvature ahead, corrected by lateral and heading error.

        In reverse the same heading error drives the car to the other side, hence its sign.
        """
        here = float(leg.distance[self._sample])
        ahead = here + abs(state.speed) * PREVIEW_TIME * np.array([0.5, 1.0, 1.5])
        curvature = float(np.interp(ahead, leg.distance, leg.curvature).mean())
        curvature -= feedback_curvature(self.lateral_error, leg.direction * self.heading_error)
        angle = math.atan(EGO.wheelbase * curvature)
        return max(-1.0, min(1.0, angle / EGO.max_steering_angle))

    def _wanted_speed(self, leg: Leg, state: VehicleState) -> float:
        """Speed to reach within this control period, in the leg's direction."""
        self._moving = self._moving or leg.direction * state.speed > ROLLING_SPEED
        if not self._moving:
            error = self._steer * EGO.max_steering_angle - state.steering_angle
            self._moving = abs(error) < STANDSTILL_STEERING
            if not self._moving:
                return 0.0
        speeds = self._speeds[self._leg]
        ahead = self._sample + round(abs(state.speed) * CONTROL_PERIOD / 0.05)
        limit = float(speeds[min(ahead, speeds.size - 1)])
        # The car moves on while it reacts, so it slows down for where it will be.
        left = max(self._left - abs(state.speed) * CONTROL_PERIOD, 0.0)
        stopping = math.sqrt(2.0 * SLOW_DOWN * left)
        return min(max(limit, 0.3), stopping)

    def _acceleration(self, leg: Leg, state: VehicleState, wanted: float) -> float:
        """Throttle or brake command towards the wanted speed."""
        speed = leg.direction * state.speed
        if wanted < 0.08 or speed < -0.05:
            return _BRAKE_TO_STAND
        change = min((wanted - speed) / (2.0 * CONTROL_PERIOD), SPEED_UP)
        return max(-1.0, change / (FULL_THROTTLE if change > 0.0 else FULL_BRAKE))


def feedback_curvature(lateral: float, slope: float) -> float:
    """Curvature in 1/m that steers against a lateral error in m that grows by `slope` a metre."""
    return LATERAL_GAIN * lateral + HEADING_GAIN * slope


def errors_after(lateral: float, slope: float, distance: Floats) -> tuple[Floats, Floats]:
    """Lateral error in m and slope after `distance` [...] m of tracking a straight line.

    lateral, slope: the error where the tracking begins, and its growth a metre driven.
    """
    growth = slope + DECAY * lateral
    decay = np.exp(-DECAY * distance)
    return (lateral + growth * distance) * decay, (slope - DECAY * growth * distance) * decay


def _speed_limits(leg: Leg) -> Floats:
    """Speed [T] along a leg: slow where the curvature jumps, speeding up and down in between."""
    limits = np.full(leg.distance.size, MAX_SPEED)
    for jump in np.flatnonzero(np.abs(np.diff(leg.curvature)) > 0.05):
        offset = leg.distance - leg.distance[jump + 1]
        limits[(offset > -0.6) & (offset < 0.3)] = JUMP_SPEED
    limits[-1] = 0.0
    for values, rate in ((limits[::-1], SLOW_DOWN), (limits, SPEED_UP)):
        distance = np.abs(np.diff(leg.distance if values is limits else leg.distance[::-1]))
        for index in range(1, values.size):
            reachable = math.sqrt(values[index - 1] ** 2 + 2.0 * rate * distance[index - 1])
            values[index] = min(values[index], reachable)
        if values is not limits:
            limits[0] = max(limits[0], 0.3)
    return limits
