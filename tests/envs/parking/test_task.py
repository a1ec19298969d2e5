"""The outcome state machine, driven by hand-made motion."""

import math

import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.task import (
    HOLD_PERIODS,
    STOP_SPEED,
    ParkingTask,
    placement_error,
)
from helmsight.envs.parking.vehicle import EGO

SCENARIO = make_scenario("standard", "test", 0)
BRAKING = VehicleCommand(-1.0, 0.0, True)


def parked_pose(longitudinal=0.0, lateral=0.0, yaw_degrees=0.0, slot=None, scenario=SCENARIO):
    """Rear-axle pose whose body middle is off the slot's middle by the given errors."""
    slot = slot or scenario.target_slot
    middle = Pose(slot.x, slot.y, slot.target(scenario.approach).yaw)
    body = middle.transform(Pose(longitudinal, lateral, math.radians(yaw_degrees)))
    return body.transform(Pose(-EGO.center_offset, 0.0, 0.0))


def state(pose, speed=0.0):
    return VehicleState(pose, speed, 0.0, (0.0, 0.0), 0.0)


def hold(pose, command=BRAKING, speed=0.0, periods=HOLD_PERIODS + 1, scenario=SCENARIO):
    """Outcome after standing at `pose`, and the task."""
    task = ParkingTask(scenario)
    for _ in range(periods):
        outcome = task.update(command, state(pose, speed), None)
        if outcome is not None:
            break
    return task.outcome, task


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((0.0, 0.0, 0.0), "TSR"),
        ((0.99, -0.59, 9.9), "TSR"),
        ((-0.99, 0.59, -9.9), "TSR"),
        ((1.01, 0.0, 0.0), "TFR"),
        ((0.0, -0.61, 0.0), "TFR"),
        ((0.0, 0.0, 10.1), "TFR"),
        ((1.99, 1.19, 19.9), "TFR"),
        ((2.01, 0.0, 0.0), None),
        ((0.0, 1.21, 0.0), None),
        ((0.0, 0.0, 20.1), None),
        ((0.0, 0.0, 180.0), None),
    ],
)
def test_a_held_stop_at_the_target_counts_by_the_published_thresholds(errors, expected):
    assert hold(parked_pose(*errors))[0] == expected


@pytest.mark.parametrize(
    ("errors", "expected"), [((0.5, 0.3, 5.0), "NTSR"), ((1.5, 0.3, 5.0), "NTFR")]
)
def test_a_held_stop_at_another_slot_counts_as_non_target(errors, expected):
    other = SCENARIO.lot.slot(0, 3)
    assert hold(parked_pose(*errors, slot=other))[0] == expected


def test_a_stop_in_the_aisle_ends_nothing():
    assert hold(SCENARIO.start, periods=100)[0] is None


def test_the_stop_must_be_held_longer_than_two_seconds():
    assert hold(parked_pose(), periods=HOLD_PERIODS)[0] is None
    assert hold(parked_pose(), periods=HOLD_PERIODS + 1)[0] == "TSR"


def test_moving_once_starts_the_hold_anew():
    task = ParkingTask(SCENARIO)
    for _ in range(HOLD_PERIODS):
        task.update(BRAKING, state(parked_pose()), None)
    task.update(BRAKING, state(parked_pose(), speed=0.1), None)
    for _ in range(HOLD_PERIODS):
        assert task.update(BRAKING, state(parked_pose()), None) is None
    assert task.update(BRAKING, state(parked_pose()), None) == "TSR"


@pytest.mark.parametrize(
    "command",
    [VehicleCommand(0.1, 0.0, True), VehicleCommand(0.0, 0.0, False)],
    ids=["throttle", "forward gear"],
)
def test_the_stop_test_wants_no_throttle_and_the_reverse_gear(command):
    assert hold(parked_pose(), command)[0] is None


def test_forward_parking_needs_no_reverse_gear():
    scenario = make_scenario("standard", "test", 0, "forward")
    pose = parked_pose(scenario=scenario)
    assert hold(pose, VehicleCommand(0.0, 0.0, False), scenario=scenario)[0] == "TSR"


def test_creeping_is_not_standing():
    assert hold(parked_pose(), speed=2.0 * STOP_SPEED)[0] is None


def test_any_collision_ends_the_episode_even_in_the_slot():
    task = ParkingTask(SCENARIO)
    assert task.update(BRAKING, state(parked_pose()), "car") == "CR"
    assert task.metrics()["collided_with"] == "car"


def test_more_than_ten_seconds_outside_the_lot_counts_as_out():
    far = Pose(SCENARIO.lot.half_length + 1.0, 0.0, 0.0)
    assert hold(far, speed=1.0, periods=100)[0] is None
    assert hold(far, speed=1.0, periods=101)[0] == "OR"


def test_the_time_limit_ends_what_nothing_else_ended():
    outcome, task = hold(SCENARIO.start, speed=1.0, periods=1000)
    assert outcome == "TR"
    assert task.timed_out
    assert task.steps == 300


def test_metrics_give_the_errors_and_when_the_final_stop_began():
    task = ParkingTask(SCENARIO)
    pose = parked_pose(0.3, -0.4, -5.0)
    for _ in range(50):
        task.update(BRAKING, state(pose, speed=-0.5), None)
    while task.outcome is None:
        task.update(BRAKING, state(pose), None)
    metrics = task.metrics()
    assert metrics["outcome"] == "TSR"
    assert metrics["position_error"] == pytest.approx(0.5)
    assert metrics["orientation_error"] == pytest.approx(5.0)
    assert metrics["parking_time"] == pytest.approx(5.1)
    assert metrics["steps"] == 71


def test_an_ended_task_takes_no_further_updates():
    _, task = hold(parked_pose())
    with pytest.raises(RuntimeError, match="ended with TSR"):
        task.update(BRAKING, state(parked_pose()), None)


def test_the_placement_error_is_zero_at_the_slots_own_target_pose():
    for approach in ("reverse", "forward"):
        slot = SCENARIO.lot.slot(2, 6)
        error = placement_error(slot, approach, slot.target(approach))
        assert error == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
