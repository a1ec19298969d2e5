"""Disturbances: smooth, bounded and short."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.training.collection.parking.disturbance import sample_disturbance


def state(speed):
    return VehicleState(Pose(0.0, 0.0, 0.0), speed, 0.0, (0.0, 0.0), 0.0)


@given(st.integers(0, 10_000), st.floats(-1.0, 1.0), st.floats(-2.0, 2.0), st.booleans())
def test_commands_stay_in_range_and_begin_and_end_near_the_base(seed, steer, speed, reverse):
    disturbance = sample_disturbance(np.random.default_rng(seed))
    base = VehicleCommand(0.0, steer, reverse)
    commands = [
        disturbance.command(period, base, state(speed)) for period in range(disturbance.duration)
    ]
    assert 5 <= len(commands) <= 15
    for command in commands:
        assert -1.0 <= command.acceleration <= 1.0
        assert -1.0 <= command.steer <= 1.0
    assert abs(commands[0].steer - steer) <= 0.35
    assert abs(commands[-1].steer - steer) <= 0.35
    steps = np.diff([command.steer for command in commands])
    assert np.abs(steps).max() < 0.65


@given(st.integers(0, 10_000), st.booleans())
def test_a_rolling_car_keeps_its_gear(seed, reverse):
    disturbance = sample_disturbance(np.random.default_rng(seed))
    base = VehicleCommand(0.0, 0.0, reverse)
    assert not disturbance.command(0, base, state(1.0)).reverse
    assert disturbance.command(0, base, state(-1.0)).reverse
