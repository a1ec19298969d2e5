"""Noisy sensors: repeatable, unbiased over cars, biased within one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.sensors import NoisySensors, SensorQuality
from helmsight.envs.parking.simulator import SensorReading, VehicleState

STATE = VehicleState(Pose(1.0, 2.0, 0.3), 2.0, 0.4, (0.5, -0.25), 0.1)
NO_NOISE = SensorQuality(0, 0, 0, 0, 0, 0, 0, 0)


def _flat(reading: SensorReading) -> list[float]:
    return [reading.speed, *reading.acceleration, reading.yaw_rate, reading.steering_angle]


def test_equal_seeds_give_equal_readings() -> None:
    first, second = NoisySensors(5), NoisySensors(5)
    assert [first.read(STATE) for _ in range(4)] == [second.read(STATE) for _ in range(4)]


def test_other_seeds_give_other_readings() -> None:
    assert NoisySensors(5).read(STATE) != NoisySensors(6).read(STATE)


def test_sensors_without_errors_say_the_truth() -> None:
    reading = NoisySensors(0, NO_NOISE).read(STATE)
    assert reading == (STATE.speed, STATE.acceleration, STATE.yaw_rate, STATE.steering_angle)


@pytest.mark.parametrize(
    ("entry", "bias", "white"),
    [(1, 0.03, 0.08), (2, 0.03, 0.08), (3, 0.002, 0.004), (4, 0.003, 0.003)],
)
def test_biases_and_white_noise_have_their_documented_sizes(
    entry: int, bias: float, white: float
) -> None:
    readings = np.array(
        [
            [_flat(sensors.read(STATE)) for _ in range(30)]
            for sensors in (NoisySensors(seed) for seed in range(300))
        ]
    )[..., entry]
    truth = {1: 0.5, 2: -0.25, 3: 0.4, 4: 0.1}[entry]
    assert readings.std(axis=1).mean() == pytest.approx(white, rel=0.05)
    spread_of_means = math.hypot(bias, white / math.sqrt(30))
    assert (readings.mean(axis=1) - truth).std() == pytest.approx(spread_of_means, rel=0.15)


def test_the_speed_error_grows_with_speed_and_rests_at_standstill() -> None:
    quality = SensorQuality(speed_white=0.0)
    sensors = NoisySensors(1, quality)
    slow = sensors.read(STATE).speed / STATE.speed
    fast = sensors.read(STATE._replace(speed=8.0)).speed / 8.0
    assert slow == pytest.approx(fast)
    assert slow != 1.0
    assert sensors.read(STATE._replace(speed=0.0)).speed == 0.0
