"""Wheel-speed, inertial and steering sensors: what the car knows of its own motion.

One draw of scale and biases a scenario, white noise a reading, all from the scenario's seed. The
sizes are those of series-production parts: wheel-speed encoders err by about half a per cent
through tyre radius and pressure; consumer and automotive MEMS units (say Bosch SMI130, InvenSense
MPU-6050 after a start-up calibration) keep a residual offset of some mg and some 0.1 deg/s and
show 0.1 mg/sqrt(Hz) noise, to which the vibration of a driving car adds most of the white part;
steering-angle sensors resolve 0.1 deg at the steering wheel with a play of some 0.1 deg at the
road wheels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helmsight.envs.parking.simulator import SensorReading, VehicleState


@dataclass(frozen=True)
class SensorQuality:
    """Standard deviations of the sensors' errors, SI units.

    A bias or scale is drawn once a scenario, the white noise at every reading.
    """

    speed_scale: float = 0.005
    speed_white: float = 0.02
    acceleration_bias: float = 0.03
    acceleration_white: float = 0.08
    yaw_rate_bias: float = 0.002
    yaw_rate_white: float = 0.004
    steering_bias: float = 0.003
    steering_white: float = 0.003


class NoisySensors:
    """The sensors of one episode; equal seeds and states give equal readings.

    Call `read` exactly once a control period: every call draws fresh noise.
    """

    def __init__(self, seed: int, quality: SensorQuality | None = None) -> None:
        self._quality = quality or SensorQuality()
        # A stream of its own, so that no other user of the scenario's seed shifts it.
        self._random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        scale, *biases = self._random.standard_normal(5)
        self._speed_scale = 1.0 + self._quality.speed_scale * float(scale)
        self._acceleration_bias = [
            self._quality.acceleration_bias * float(bias) for bias in biases[:2]
        ]
        self._yaw_rate_bias = self._quality.yaw_rate_bias * float(biases[2])
        self._steering_bias = self._quality.steering_bias * float(biases[3])

    def read(self, state: VehicleState) -> SensorReading:
        """The sensors' reading of a true state."""
        quality = self._quality
        white = [float(value) for value in self._random.standard_normal(5)]
        forward, left = (
            true + bias + quality.acceleration_white * noise
            for true, bias, noise in zip(
                state.acceleration, self._acceleration_bias, white[1:3], strict=True
            )
        )
        return SensorReading(
            speed=state.speed * self._speed_scale + quality.speed_white * white[0],
            acceleration=(forward, left),
            yaw_rate=state.yaw_rate + self._yaw_rate_bias + quality.yaw_rate_white * white[3],
            steering_angle=(
                state.steering_angle + self._steering_bias + quality.steering_white * white[4]
            ),
        )
