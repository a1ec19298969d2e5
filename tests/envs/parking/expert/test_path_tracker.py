import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.path import Arc, Path
from helmsight.envs.parking.expert.path_tracker import MAX_SPEED, PathTracker, errors_after
from helmsight.envs.parking.kinematic import KinematicSimulator
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import VehicleState

CURVATURE = 1.0 / 4.5


def drive(arcs, offset=None, limit=400):
    """States, commands and lateral errors of an ideal bicycle tracking arcs from the start."""
    scenario = make_scenario("standard", "train", 0)
    path = Path(scenario.start.transform(offset or Pose(0.0, 0.0, 0.0)), arcs)
    simulator, tracker = KinematicSimulator(), PathTracker(path)
    simulator.reset(scenario)
    states, commands, errors = [simulator.vehicle_state()], [], []
    while not tracker.finished and len(commands) < limit:
        commands.append(tracker.act(states[-1]))
        errors.append(tracker.lateral_error)
        simulator.step(commands[-1])
        states.append(simulator.vehicle_state())
    return path, states, commands, np.abs(errors)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize(
    "curvatures", [(0.0,), (CURVATURE,), (0.0, CURVATURE, 0.0), (CURVATURE, -CURVATURE)]
)
def test_a_path_is_followed_to_its_end(direction, curvatures):
    path, states, _, errors = drive([Arc(curvature, direction * 4.0) for curvature in curvatures])
    error = path.end.relative(states[-1].pose)
    assert abs(error.x) < 0.05
    assert abs(error.y) < 0.05
    assert abs(np.degrees(error.yaw)) < 2.0
    assert errors.max() < 0.12
    assert abs(states[-1].speed) < 0.02


def test_gear_changes_happen_at_standstill():
    arcs = [Arc(CURVATURE, 3.0), Arc(-CURVATURE, -3.0), Arc(0.0, 2.0)]
    _, states, commands, _ = drive(arcs)
    changes = 0
    for before, command, state in zip(commands, commands[1:], states[1:], strict=False):
        if before.reverse != command.reverse:
            changes += 1
            assert abs(state.speed) < 0.05
    assert changes == 2


def test_an_offset_is_steered_out_in_both_gears():
    for direction in (1.0, -1.0):
        _, _, _, errors = drive([Arc(0.0, direction * 9.0)], Pose(0.0, 0.2, 0.05))
        assert errors[0] == pytest.approx(0.2, abs=0.02)
        assert errors[-1] < 0.02


def rolling(pose, speed, steering_angle=0.0):
    return VehicleState(pose, speed, 0.0, (0.0, 0.0), steering_angle)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_rolling_car_with_a_new_plan_does_not_stop_for_its_wheels(direction):
    start = Pose(0.0, 0.0, 0.0)
    path = Path(start, [Arc(CURVATURE, direction * 6.0)])
    assert PathTracker(path).act(rolling(start, 0.0)).acceleration < 0.0
    assert PathTracker(path).act(rolling(start, direction * 0.5)).acceleration > 0.0


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_noise_of_a_standing_car_s_speed_is_not_taken_for_rolling(direction):
    start = Pose(0.0, 0.0, 0.0)
    path = Path(start, [Arc(CURVATURE, direction * 6.0)])
    assert PathTracker(path).act(rolling(start, direction * 0.05)).acceleration < 0.0


def test_a_car_that_rolls_the_other_way_does_not_drive_a_leg_too_short_to_drive():
    start = Pose(0.0, 0.0, 0.0)
    tracker = PathTracker(Path(start, [Arc(CURVATURE, 0.02), Arc(0.0, -4.0)]))
    assert tracker.act(rolling(start, -0.1)).reverse


def test_gear_changes_left_count_the_one_that_a_rolling_car_needs():
    start = Pose(0.0, 0.0, 0.0)
    tracker = PathTracker(Path(start, [Arc(0.0, 2.0), Arc(CURVATURE, -4.0)]))
    assert [tracker.remaining_gear_changes(speed) for speed in (0.0, 0.5, -0.5)] == [1, 1, 2]


def test_at_the_end_of_a_leg_a_standing_car_has_made_its_gear_change():
    start = Pose(0.0, 0.0, 0.0)
    tracker = PathTracker(Path(start, [Arc(0.0, 0.9), Arc(CURVATURE, -4.0)]))
    tracker.locate(rolling(Pose(0.89, 0.0, 0.0), 0.0))
    assert tracker.remaining_gear_changes(0.0) == 0
    assert len(tracker.remaining_poses()) == pytest.approx(81, abs=1)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize(("y", "yaw"), [(0.1, 0.0), (-0.05, 0.06), (0.0, -0.08)])
def test_a_driven_car_s_errors_decay_as_foretold(direction, y, yaw):
    scenario = make_scenario("standard", "train", 0)
    simulator = KinematicSimulator()
    simulator.reset(scenario)
    line = scenario.start.transform(Pose(0.0, y, yaw).relative(Pose(0.0, 0.0, 0.0)))
    tracker = PathTracker(Path(line, [Arc(0.0, direction * 3.0)]))
    driven, seen = [], []
    while not tracker.finished and len(seen) < 200:
        state = simulator.vehicle_state()
        error = line.relative(state.pose)
        driven.append(direction * error.x)
        seen.append((error.y, direction * error.yaw))
        simulator.step(tracker.act(state))
    lateral, slope = errors_after(y, direction * yaw, np.array(driven))
    assert np.abs(np.array(seen)[:, 0] - lateral).max() < 0.02
    assert np.abs(np.array(seen)[:, 1] - slope).max() < 0.03


@given(st.floats(-0.5, 0.5), st.floats(-0.3, 0.3), st.floats(0.0, 4.0), st.floats(0.0, 4.0))
def test_errors_after_two_stretches_are_those_after_both(lateral, slope, first, second):
    halfway = errors_after(lateral, slope, np.array(first))
    there = errors_after(float(halfway[0]), float(halfway[1]), np.array(second))
    at_once = errors_after(lateral, slope, np.array(first + second))
    np.testing.assert_allclose(there, at_once, atol=1e-9)


def test_commands_and_speed_keep_their_ranges():
    _, states, commands, _ = drive([Arc(0.0, 9.0), Arc(CURVATURE, -6.0)], Pose(0.0, 1.0, 0.5))
    assert all(-1.0 <= c.acceleration <= 1.0 and -1.0 <= c.steer <= 1.0 for c in commands)
    assert max(abs(state.speed) for state in states) < MAX_SPEED + 0.1


def test_a_finished_tracker_brakes():
    path = Path(make_scenario("standard", "train", 0).start, [])
    tracker = PathTracker(path)
    simulator = KinematicSimulator()
    simulator.reset(make_scenario("standard", "train", 0))
    assert tracker.finished
    assert tracker.act(simulator.vehicle_state()).acceleration < 0.0
