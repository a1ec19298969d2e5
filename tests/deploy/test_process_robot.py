import sys
import time

import numpy as np
import pytest
from serving import EMBODIMENT

from helmsight.deploy.process_robot import ProcessRobot
from helmsight.deploy.robot import RobotLostError
from helmsight.envs.parking.vehicle import PARKING_SAFETY

# Sends the last action back as the state, once a period, and notes in a file that it was stopped.
CHILD = """
import json, sys, time
import numpy as np
from multiprocessing.connection import Connection
from helmsight.deploy.wire import decode, encode
options = json.loads(sys.argv[-1])
connection = Connection(int(sys.argv[-2]))
action = np.zeros(3, np.float32)
for count in range(options["periods"]):
    outcome = "parked" if count >= options["parked_at"] else ""
    seen = {"values": {"observation.state": action}, "outcome": outcome}
    connection.send_bytes(encode({**seen, "taken_at": time.monotonic()}))
    due = time.monotonic() + 0.05
    # Asked for each message: a flood of them does not keep the child from its next period.
    while (left := due - time.monotonic()) > 0.0 and connection.poll(left):
        message = decode(connection.recv_bytes())
        if "stop" in message:
            open(options["note"], "w").write("stopped")
            sys.exit()
        action = message["action"]
if options["hangs"]:
    time.sleep(60.0)
"""


@pytest.fixture
def robot(tmp_path):
    made = []

    def make(periods=1000, parked_at=1000, hangs=False, child=CHILD):
        options = {"periods": periods, "parked_at": parked_at, "hangs": hangs}
        options["note"] = str(tmp_path / "note")
        made.append(
            ProcessRobot([sys.executable, "-c", child], options, EMBODIMENT, PARKING_SAFETY)
        )
        return made[-1]

    yield make
    for one in made:
        one.stop()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_observations_come_and_actions_go(robot):
    car = robot()
    car.connect()
    assert time.monotonic() - car.observe().taken_at < 10.0
    car.act(np.array([0.5, 0.25, 1.0]))
    until(lambda: car.observe().values["observation.state"][0] == 0.5)


def test_the_outcome_is_told(robot):
    car = robot(parked_at=2)
    car.connect()
    until(lambda: car.observe().outcome == "parked")


def test_stopping_ends_the_process_in_good_order_and_twice_is_no_harm(robot, tmp_path):
    car = robot()
    car.connect()
    car.stop()
    car.stop()
    assert (tmp_path / "note").read_text() == "stopped"


def test_a_process_that_ends_is_a_lost_robot(robot):
    car = robot(periods=2)
    car.connect()
    with pytest.raises(RobotLostError, match="has ended"):
        until(lambda: car.observe() is None)
    with pytest.raises(RobotLostError):
        for _ in range(100):
            car.act(np.zeros(3))


def test_a_process_that_says_nothing_more_leaves_an_observation_that_ages(robot):
    car = robot(periods=2, hangs=True)
    car.connect()
    until(lambda: time.monotonic() - car.observe().taken_at > 0.5)
    car._process.kill()


def flood(car, seconds=20.0):
    """Send commands until the robot is lost, longer than the child reads any of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        car.act(np.zeros(3))


def test_a_process_that_reads_no_more_commands_is_a_lost_robot(robot):
    car = robot(periods=1, hangs=True)
    car.connect()
    with pytest.raises(RobotLostError, match="takes no more commands"):
        flood(car)
    with pytest.raises(RobotLostError, match="takes no more commands"):
        car.observe()


def test_a_process_that_reads_no_more_commands_is_killed(robot, monkeypatch):
    monkeypatch.setattr("helmsight.deploy.process_robot.SECONDS_TO_STOP", 0.2)
    car = robot(periods=1, hangs=True)
    car.connect()
    process = car._process
    with pytest.raises(RobotLostError):
        flood(car)
    car.stop()
    assert process.poll() is not None


def test_a_process_that_cannot_start_is_named(robot):
    car = robot(child="import sys; sys.exit('no car here')")
    with pytest.raises(RobotLostError, match="has ended"):
        car.connect()


def test_a_process_that_sends_something_else_is_a_lost_robot(robot):
    car = robot(child=CHILD.replace('"taken_at"', '"time"'))
    with pytest.raises(RobotLostError, match="no observation"):
        car.connect()


def test_a_robot_that_was_never_connected_is_lost(robot):
    car = robot()
    with pytest.raises(RobotLostError, match="not connected"):
        car.observe()
    with pytest.raises(RobotLostError, match="not connected"):
        car.act(np.zeros(3))
    car.stop()
