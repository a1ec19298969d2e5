import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.path import Arc, Path
from helmsight.envs.parking.expert.path_tracker import MAX_SPEED, PathTracker
from helmsight.envs.parking.kinematic import KinematicSimulator
from helmsight.envs.parking.scenario import make_scenario

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
