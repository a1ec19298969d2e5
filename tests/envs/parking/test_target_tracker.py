"""Dead reckoning of the target."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.kinematic import KinematicSimulator
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.target_tracker import TargetTracker, bicycle_motion
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO


def reading(speed, steering_angle=0.0):
    return SensorReading(speed, (0.0, 0.0), 0.0, steering_angle)


def test_driving_straight_brings_the_target_closer_by_the_distance_driven():
    tracker = TargetTracker(Pose(5.0, 2.0, 1.0), reading(1.0))
    for _ in range(10):
        target = tracker.update(reading(1.0))
    assert target == pytest.approx((4.0, 2.0, 1.0))


@given(st.floats(-2.0, 2.0), st.floats(-0.6, 0.6))
def test_a_constant_arc_is_followed_to_a_millimetre_a_period(speed, steering_angle):
    motion = bicycle_motion(speed, steering_angle, CONTROL_PERIOD)
    turn = speed * CONTROL_PERIOD * math.tan(steering_angle) / EGO.wheelbase
    # sin(turn) / turn and (1 - cos(turn)) / turn, safe at zero.
    along = np.sinc(turn / math.pi) * speed * CONTROL_PERIOD
    across = np.sinc(turn / math.pi / 2.0) * math.sin(turn / 2.0) * speed * CONTROL_PERIOD
    assert motion == pytest.approx((along, across, turn), abs=1e-3)


@given(st.floats(-9.0, 9.0), st.floats(-9.0, 9.0), st.floats(-3.0, 3.0))
def test_a_standing_car_keeps_its_target(x, y, yaw):
    tracker = TargetTracker(Pose(x, y, yaw), reading(0.0, 0.3))
    assert tracker.update(reading(0.0, -0.5)) == pytest.approx((x, y, yaw))


def test_the_tracked_target_stays_near_the_true_one_on_a_winding_drive():
    simulator = KinematicSimulator()
    scenario = make_scenario("cluttered", "val", 1)
    simulator.reset(scenario)
    start = simulator.vehicle_state().pose
    tracker = TargetTracker(start.relative(scenario.target), simulator.sensors())
    for period in range(80):
        simulator.step(VehicleCommand(0.2 if period < 40 else -0.2, math.sin(period / 8.0), False))
        tracker.update(simulator.sensors())
    pose = simulator.vehicle_state().pose
    truth = pose.relative(scenario.target)
    assert math.hypot(pose.x - start.x, pose.y - start.y) > 3.0
    assert math.hypot(tracker.target.x - truth.x, tracker.target.y - truth.y) < 0.15
    assert abs(tracker.target.yaw - truth.yaw) < math.radians(2.0)
