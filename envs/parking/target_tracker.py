"""Where the target slot is, by dead reckoning from the car's own sensors.

At the start the slot's pose is known (the driver chose it); from then on the tracker integrates a
motion model, by default a kinematic bicycle. No simulator truth enters.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.motion_model import BicycleMotion, MotionModel, Variances
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand


class TargetTracker:
    """Tracks the target pose in the vehicle frame (rear axle), one sensor reading a period."""

    def __init__(
        self, target: Pose, reading: SensorReading, motion_model: MotionModel | None = None
    ) -> None:
        """`target`: its pose in the vehicle frame at the time of `reading`, the car at rest."""
        self._target = target
        self._model = motion_model or BicycleMotion()
        self._model.start(reading)
        self._covariance: NDArray[np.float64] | None = np.zeros((3, 3))

    @property
    def target(self) -> Pose:
        """Target pose in the vehicle frame at the last reading."""
        return self._target

    @property
    def covariance(self) -> NDArray[np.float64] | None:
        """Covariance [3, 3] of the target's x, y (m) and yaw (rad) in the vehicle frame.

        Zero at the start, then what the motion model says that its errors add up to; None with a
        model that claims nothing.
        """
        return self._covariance

    def update(self, command: VehicleCommand, reading: SensorReading) -> Pose:
        """Take in the period's command and the reading at its end; return the target's pose."""
        estimate = self._model.update(command, reading)
        self._target = estimate.motion.relative(self._target)
        if estimate.growth is None:
            self._covariance = None
        elif self._covariance is not None:
            self._covariance = _propagated(
                self._covariance, estimate.motion.yaw, self._target, estimate.growth
            )
        return self._target


def _propagated(
    covariance: NDArray[np.float64], turn: float, target: Pose, growth: Variances
) -> NDArray[np.float64]:
    """First-order error propagation through `motion.relative`; `target` is the pose after it."""
    cos, sin = math.cos(turn), math.sin(turn)
    # How the target after the motion moves with the target before it, and with the motion.
    by_target = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    by_motion = np.array([[-cos, -sin, target.y], [sin, -cos, -target.x], [0.0, 0.0, -1.0]])
    added = (by_motion * np.array(growth)) @ by_motion.T
    return by_target @ covariance @ by_target.T + added
