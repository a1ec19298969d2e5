"""LIBERO's arm as a robot that `helmsight drive` drives in real time."""

import importlib.util
import json

import numpy as np
import pytest
from serving import FakeModel, ServerThread

from helmsight.cli.main import main
from helmsight.cli.simulated_robot import SimulatedRobot
from helmsight.envs.libero.embodiment import LIBERO_SAFETY, libero_embodiment
from helmsight.envs.libero.package import find_assets, package_folder
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.training.dataset.reader import LeRobotDataset
from tests.policies.manipulation_batches import arm

HERE = package_folder() is not None and importlib.util.find_spec("robosuite") is not None
needs_libero = pytest.mark.skipif(
    not HERE or find_assets() is None,
    reason="LIBERO or its scene assets (HELMSIGHT_LIBERO_ASSETS) are not here",
)
needs_tasks = pytest.mark.skipif(not HERE, reason="LIBERO is not installed here")


class DescendingModel(FakeModel):
    """Reads no image; moves the hand down and closes the gripper."""

    observation_keys = ("observation.state", "task")
    steps_per_decision = 8

    def __init__(self):
        super().__init__()
        self.embodiment = libero_embodiment("libero_object", 32)

    def decide(self, observations):
        self.batches.append(len(observations))
        self.told = str(observations[0]["task"])
        actions = np.zeros((len(observations), 8, self.embodiment.action.size), np.float32)
        actions[:, :, 2], actions[:, :, 6] = -0.5, 1.0
        return actions


@needs_libero
@pytest.mark.rendering
def test_the_arm_is_driven_and_the_drive_recorded_under_its_instruction(tmp_path):
    with ServerThread(DescendingModel()) as server:
        words = [f"server={server.address}", "robot=libero", "max_seconds=1.5", "episodes=[350]"]
        words += [f"out={tmp_path}", f"record={tmp_path / 'flight'}"]
        assert main(["drive", *words]) == 1  # nothing in the basket within so short a time
        told = server.model.told
    (line,) = (tmp_path / "drives.jsonl").read_text().splitlines()
    summary = json.loads(line)
    assert summary["robot"] == "libero/libero_object/official/350"
    assert summary["outcome"] == "time_is_up" and summary["decisions"] >= 1
    assert told == "pick up the milk and place it in the basket"
    flight = LeRobotDataset(tmp_path / "flight")
    assert flight.tasks == [told]
    heights = flight.columns("observation.state")[:, 2]
    assert heights[-1] < heights[0] - 0.02


@needs_tasks
def test_a_policy_for_another_robot_is_refused(capsys):
    with ServerThread() as server:
        assert main(["drive", f"server={server.address}", "robot=libero"]) == 2
    assert "the served policy is for another robot than 'libero'" in capsys.readouterr().err


class BlindCarModel(FakeModel):
    """Of a car that was recorded without cameras."""

    embodiment = parking_embodiment("none")
    observation_keys = ("observation.state",)


@needs_tasks
def test_a_policy_without_cameras_for_another_robot_is_refused_as_well(capsys):
    with ServerThread(BlindCarModel()) as server:
        assert main(["drive", f"server={server.address}", "robot=libero"]) == 2
    assert "the served policy is for another robot than 'libero'" in capsys.readouterr().err


class StandingEnvironment:
    """Notes the actions that it is given."""

    def __init__(self):
        self.embodiment = arm()
        self.actions = []

    def restart(self, seed, options):
        return {"task": "wait"}

    def advance(self, action):
        self.actions.append(action)
        return 0.0, False, False, {}

    def observe_state(self):
        return {"observation.state": np.zeros(8, np.float32)}

    def close(self):
        pass


class Left:
    """A connection that gives one command and is gone."""

    def __init__(self, action):
        self.commands = [action]

    def poll(self, seconds):
        return True

    def recv_bytes(self, limit):
        from helmsight.deploy.wire import encode

        if not self.commands:
            raise EOFError
        return encode({"action": self.commands.pop()})


def test_without_its_controller_the_arm_holds_still_and_keeps_its_grip():
    world = StandingEnvironment()
    command = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], np.float32)
    SimulatedRobot(world, LIBERO_SAFETY, 0, sees=False, task_key="task").drive(Left(command))
    assert len(world.actions) == 60
    np.testing.assert_array_equal(world.actions, [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]] * 60)
