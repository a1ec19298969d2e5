"""How far the car moved in a control period: what the target tracker integrates."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO, VehicleGeometry

# Of x, y (m^2) and yaw (rad^2), in the frame that the car had before the period.
Variances = tuple[float, float, float]


class MotionEstimate(NamedTuple):
    """One control period's motion of the rear axle, in the frame it had before.

    variance: of this period's motion alone. growth: what the period adds to the variance of a whole
    way; more than `variance` where errors of one period come back in the next, as a sensor's scale
    does. Both are None from a model that claims nothing.
    """

    motion: Pose
    variance: Variances | None = None
    growth: Variances | None = None


class MotionModel(Protocol):
    """From the car's own sensors and controls to its motion; remembers what it needs of the past.

    No simulator truth enters.
    """

    def start(self, reading: SensorReading) -> None:
        """Begin an episode: the car stands, and this is its first reading."""

    def update(self, command: VehicleCommand, reading: SensorReading) -> MotionEstimate:
        """The motion between the last reading and this one, under the command of that period."""


def bicycle_motion(
    speed: float, steering_angle: float, duration: float, vehicle: VehicleGeometry = EGO
) -> Pose:
    """Motion of the rear axle over `duration` seconds, in the frame it had before.

    Constant speed (m/s) and steering angle (rad) give an arc; its chord points along the heading
    half way (midpoint rule), which is exact in direction and second order in length.
    """
    distance = speed * duration
    turn = distance * math.tan(steering_angle) / vehicle.wheelbase
    return Pose(distance * math.cos(turn / 2.0), distance * math.sin(turn / 2.0), turn)


class BicycleMotion:
    """`MotionModel` of a kinematic bicycle: the means of two readings' speeds and steering angles.

    It looks at neither controls nor inertial sensors.
    """

    def __init__(self, vehicle: VehicleGeometry = EGO) -> None:
        self._vehicle = vehicle

    def start(self, reading: SensorReading) -> None:
        self._reading = reading

    def update(self, command: VehicleCommand, reading: SensorReading) -> MotionEstimate:
        before, self._reading = self._reading, reading
        speed = (before.speed + reading.speed) / 2.0
        steering_angle = (before.steering_angle + reading.steering_angle) / 2.0
        return MotionEstimate(bicycle_motion(speed, steering_angle, CONTROL_PERIOD, self._vehicle))
