"""Smooth disturbances that push the car off its way, so that the expert's correction is seen.

Recording the correction alone is noise injection after Laskey et al. 2017 (DART): the learner sees
states beside the expert's path without learning the push that led there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import CONTROL_RATE_HZ

_ROLLING_SPEED = 0.1
_SPEED_GAIN = 1.0


@dataclass(frozen=True)
class Disturbance:
    """A half sine of steering on top of where it stood, at a speed of its own.

    duration: control periods. steer: peak offset in [-1, 1]. speed: wanted, m/s. swaps_gear: the
    other gear is engaged where the car stands.
    """

    duration: int
    steer: float
    speed: float
    swaps_gear: bool

    def command(self, period: int, base: VehicleCommand, state: VehicleState) -> VehicleCommand:
        """The command of a period, 0 the first; `base` is the last one before the disturbance."""
        hump = math.sin(math.pi * (period + 0.5) / self.duration)
        steer = min(1.0, max(-1.0, base.steer + self.steer * hump))
        acceleration = _SPEED_GAIN * (self.speed - abs(state.speed))
        if abs(state.speed) > _ROLLING_SPEED:
            reverse = state.speed < 0.0
        else:
            reverse = base.reverse != self.swaps_gear
        return VehicleCommand(min(1.0, max(-1.0, acceleration)), steer, reverse)


def sample_disturbance(random: np.random.Generator) -> Disturbance:
    """A disturbance of 0.5 to 1.5 s."""
    side = 1.0 if random.random() < 0.5 else -1.0
    return Disturbance(
        duration=round(float(random.uniform(0.5, 1.5)) * CONTROL_RATE_HZ),
        steer=side * float(random.uniform(0.3, 1.0)),
        speed=float(random.uniform(0.3, 1.4)),
        swaps_gear=bool(random.random() < 0.3),
    )
