"""Where the target slot is, by dead reckoning from the car's own sensors.

At the start the slot's pose is known (the driver chose it); from then on the tracker integrates a
kinematic bicycle model from the measured speed and steering angle. No simulator truth enters.
"""

from __future__ import annotations

import math

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.simulator import SensorReading
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO, VehicleGeometry


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


class TargetTracker:
    """Tracks the target pose in the vehicle frame (rear axle), one sensor reading a period."""

    def __init__(
        self, target: Pose, reading: SensorReading, vehicle: VehicleGeometry = EGO
    ) -> None:
        """`target`: its pose in the vehicle frame at the time of `reading`."""
        self._target = target
        self._reading = reading
        self._vehicle = vehicle

    @property
    def target(self) -> Pose:
        """Target pose in the vehicle frame at the last reading."""
        return self._target

    def update(self, reading: SensorReading) -> Pose:
        """Take in the reading one control period after the last; return the target's pose."""
        motion = bicycle_motion(
            (self._reading.speed + reading.speed) / 2.0,
            (self._reading.steering_angle + reading.steering_angle) / 2.0,
            CONTROL_PERIOD,
            self._vehicle,
        )
        self._target = motion.relative(self._target)
        self._reading = reading
        return self._target
