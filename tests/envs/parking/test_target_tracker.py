"""Dead reckoning of the target."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.kinematic import KinematicSimulator
from helmsight.envs.parking.motion_model import MotionEstimate, bicycle_motion
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.target_tracker import TargetTracker
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, EGO

STRAIGHT = VehicleCommand(0.0, 0.0, False)


def reading(speed, steering_angle=0.0):
    return SensorReading(speed, (0.0, 0.0), 0.0, steering_angle)


def test_driving_straight_brings_the_target_closer_by_the_distance_driven():
    tracker = TargetTracker(Pose(5.0, 2.0, 1.0), reading(1.0))
    for _ in range(10):
        target = tracker.update(STRAIGHT, reading(1.0))
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
    assert tracker.update(STRAIGHT, reading(0.0, -0.5)) == pytest.approx((x, y, yaw))


def test_the_tracked_target_stays_near_the_true_one_on_a_winding_drive():
    simulator = KinematicSimulator()
    scenario = make_scenario("cluttered", "val", 1)
    simulator.reset(scenario)
    start = simulator.vehicle_state().pose
    tracker = TargetTracker(start.relative(scenario.target), simulator.sensors())
    for period in range(80):
        command = VehicleCommand(0.2 if period < 40 else -0.2, math.sin(period / 8.0), False)
        simulator.step(command)
        tracker.update(command, simulator.sensors())
    pose = simulator.vehicle_state().pose
    truth = pose.relative(scenario.target)
    assert math.hypot(pose.x - start.x, pose.y - start.y) > 3.0
    assert math.hypot(tracker.target.x - truth.x, tracker.target.y - truth.y) < 0.15
    assert abs(tracker.target.yaw - truth.yaw) < math.radians(2.0)


class KnownMotion:
    """Moves as told, with the variances told."""

    def __init__(self, motions, growth):
        self.motions, self.growth = iter(motions), growth

    def start(self, reading):
        pass

    def update(self, command, reading):
        return MotionEstimate(next(self.motions), self.growth, self.growth)


MOTIONS = st.lists(
    st.builds(Pose, st.floats(-0.2, 0.2), st.floats(-0.01, 0.01), st.floats(-0.1, 0.1)),
    min_size=1,
    max_size=15,
)


def tracked(motions, growth, target):
    tracker = TargetTracker(target, reading(0.0), KnownMotion(motions, growth))
    for _ in motions:
        tracker.update(STRAIGHT, reading(0.0))
    return tracker


@given(MOTIONS)
def test_the_target_follows_the_motions_that_the_model_says(motions):
    car, target = Pose(1.0, -2.0, 0.3), Pose(6.0, 3.0, -1.2)
    tracker = tracked(motions, (0.0, 0.0, 0.0), car.relative(target))
    for motion in motions:
        car = car.transform(motion)
    assert tracker.target == pytest.approx(car.relative(target))
    assert tracker.covariance == pytest.approx(np.zeros((3, 3)))


def test_the_uncertainty_is_the_spread_of_drives_with_such_errors():
    random = np.random.default_rng(0)
    motions = [Pose(0.15, 0.0, 0.05)] * 40
    growth = (1e-4, 2e-5, 1e-5)
    target = Pose(8.0, 4.0, 1.5)
    ends = []
    for _ in range(2000):
        errors = random.standard_normal((len(motions), 3)) * np.sqrt(growth)
        noisy = [Pose(*(np.array(m) + e)) for m, e in zip(motions, errors, strict=True)]
        ends.append(tracked(noisy, growth, target).target)
    claimed = tracked(motions, growth, target).covariance
    measured = np.cov(np.array(ends).T)
    assert np.diag(measured) == pytest.approx(np.diag(claimed), rel=0.15)
    assert measured[0, 2] == pytest.approx(claimed[0, 2], rel=0.3)


def test_a_model_that_claims_nothing_gives_no_uncertainty():
    tracker = TargetTracker(Pose(5.0, 2.0, 1.0), reading(1.0))
    tracker.update(STRAIGHT, reading(1.0))
    assert tracker.covariance is None
