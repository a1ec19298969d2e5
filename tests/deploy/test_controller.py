import threading
import time

import numpy as np
import pytest
from driving import PERIOD, SAFE, NotedRobot, drive
from serving import CHUNK, EMBODIMENT, FakeModel, ServerThread, observation

from helmsight.deploy.chunks import Chunk
from helmsight.deploy.client import PolicyClient
from helmsight.deploy.controller import Controller, ControllerSettings, DriveRecord
from helmsight.deploy.decider import BAD_REPLY, RECONNECTED, SERVER_LOST, Decider, Trouble
from helmsight.deploy.recorder import FlightRecorder
from helmsight.deploy.robot import Observed, RobotLostError


class ScriptedDecider:
    """Answers each request by a script of what happens, at once or at a later tick."""

    def __init__(self, answer):
        self.answer = answer
        self.submitted = []
        self.idle = True
        self.waited_until = []
        self._happened = []

    def submit(self, observed):
        self.submitted.append(observed)
        found = self.answer(len(self.submitted), observed)
        if found is not None:
            self._happened.append(found)

    def happened(self, wait_until=None):
        if wait_until is not None:
            self.waited_until.append(wait_until)
        found, self._happened = self._happened, []
        return found


def chunk(observed, value=0.25, length=CHUNK):
    actions = np.full((length, 3), value, np.float32)
    actions[:, 1] = np.linspace(0.0, 0.3, length)
    return Chunk(actions, observed.taken_at, observed.taken_at, PERIOD)


class ClockedRobot(NotedRobot):
    """Takes its observations at the time that the test says it is."""

    now = 0.0

    def observe(self):
        return Observed(super().observe().values, self.now)


def ticked(decider, ticks, **settings):
    """The robot after so many ticks, each a period after the other, 30 ms after its observation."""
    robot = ClockedRobot(1000)
    controller = Controller(robot, decider, ControllerSettings(**settings), robot.safety)
    for tick in range(ticks):
        robot.now = 50.0 + tick * PERIOD
        controller.tick(tick, robot.now + 0.03)
    return robot, controller


def test_every_tick_carries_out_the_action_for_its_own_observation():
    robot, controller = ticked(ScriptedDecider(lambda n, seen: chunk(seen, 0.01 * n)), 5)
    assert [action[0] for action in robot.actions] == pytest.approx([0.01 * n for n in range(1, 6)])
    assert controller.record.decisions == 5 and not controller.gate.counts


def test_a_chunk_bridges_ticks_without_a_decision():
    decider = ScriptedDecider(lambda n, seen: chunk(seen) if n == 1 else None)
    robot, controller = ticked(decider, 6)
    assert [action[1] for action in robot.actions[:4]] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert robot.safe == [False] * 4 + [True] * 2
    assert controller.gate.counts == {"no_action": 2}


def test_decisions_are_asked_for_as_seldom_as_wanted():
    decider = ScriptedDecider(lambda n, seen: chunk(seen))
    ticked(decider, 9, decide_every=3)
    assert [round((seen.taken_at - 50.0) / PERIOD) for seen in decider.submitted] == [0, 3, 6]


@pytest.mark.parametrize("kind", (SERVER_LOST, BAD_REPLY))
def test_trouble_brings_the_safe_action_in_the_same_tick(kind):
    decider = ScriptedDecider(lambda n, seen: Trouble(kind) if n == 3 else chunk(seen))
    robot, controller = ticked(decider, 5)
    assert robot.safe == [False, False, True, False, False]
    assert controller.record.troubles == {kind: 1}


def test_trouble_between_two_ticks_brings_the_safe_action_at_once():
    decider = ScriptedDecider(lambda n, seen: chunk(seen))
    robot = ClockedRobot(1000)
    recorder = FlightRecorder(EMBODIMENT, 1.0)
    controller = Controller(robot, decider, ControllerSettings(), robot.safety, recorder)
    robot.now = now = time.monotonic()
    controller.tick(0, now)
    assert robot.safe == [False]
    decider._happened.append(Trouble(SERVER_LOST))
    controller._rest(time.monotonic() + 0.01)
    assert robot.safe == [True] and controller.gate.counts == {"no_action": 1}
    columns = recorder.columns()
    assert columns["action"][0, 0] == SAFE and columns["controller.proposed"][0, 0] == 0.25


def test_a_reconnection_is_no_reason_to_brake():
    decider = ScriptedDecider(lambda n, seen: Trouble(RECONNECTED) if n == 3 else chunk(seen))
    robot, _ = ticked(decider, 5)
    assert not any(robot.safe)


def test_a_doubted_observation_is_not_decided_on():
    decider = ScriptedDecider(lambda n, seen: chunk(seen))
    robot = ClockedRobot(1000)
    controller = Controller(robot, decider, ControllerSettings(), robot.safety)
    controller.tick(0, 1.0)  # taken at 0.0: a second old
    assert robot.safe == [True] and not decider.submitted
    assert controller.gate.counts == {"stale_observation": 1}


def test_a_tick_waits_for_its_decision_for_a_part_of_the_period_at_most():
    decider = ScriptedDecider(lambda n, seen: None)
    ticked(decider, 1, wait_fraction=0.4)
    assert decider.waited_until == pytest.approx([50.03 + 0.4 * PERIOD])


def test_an_observation_is_decided_on_once():
    decider = ScriptedDecider(lambda n, seen: chunk(seen))
    robot = ClockedRobot(1000)
    controller = Controller(robot, decider, ControllerSettings(), robot.safety)
    robot.silent, robot.now = True, 50.0
    controller.tick(0, 50.01)
    controller.tick(1, 50.11)
    assert len(decider.submitted) == 1


# ---- In real time ----


def test_a_served_policy_drives_until_the_task_ends():
    robot = NotedRobot(10)
    with ServerThread() as server:
        record = drive(robot, server.address)
    assert record.outcome == "done" and record.ticks == 11
    assert robot.stopped == 1
    assert record.decisions >= 5
    assert len(record.summary()["decision_ms"]) == 3


def test_ticks_stay_on_the_clock_s_grid():
    robot = NotedRobot(15)
    with ServerThread() as server:
        record = drive(robot, server.address)
    whole = (14 + record.missed_ticks) * PERIOD
    elapsed = robot.acted_at[-1] - robot.acted_at[0]
    assert elapsed == pytest.approx(whole, abs=PERIOD + max(record.late_ms) / 1000.0)


def test_a_server_that_takes_its_time_is_not_waited_for():
    model = FakeModel(lambda count: time.sleep(2.0))
    with ServerThread(model) as server:
        client = PolicyClient(server.address, reply_seconds=60.0)
        decider = Decider(client, EMBODIMENT, client.connect())
        began = time.monotonic()
        decider.submit(Observed(observation(), began))
        assert decider.happened(began + 0.05) == [] and not decider.idle
        assert time.monotonic() - began < 1.5
        (chunk,) = decider.happened(began + 60.0)
        assert isinstance(chunk, Chunk) and decider.idle
        decider.close()
        client.close()


def test_the_time_limit_ends_the_drive():
    robot = NotedRobot(1000)
    with ServerThread() as server:
        assert drive(robot, server.address, max_seconds=0.35).outcome == "time_is_up"
    assert robot.stopped == 1


def test_a_lost_robot_ends_the_drive():
    robot = NotedRobot(1000)

    def lose(tick):
        if tick == 3:
            raise RobotLostError("gone")

    robot.at_tick = lose
    with ServerThread() as server:
        assert drive(robot, server.address).outcome == "robot_lost"
    assert robot.stopped == 1


def test_an_error_in_the_loop_stops_the_robot():
    robot = NotedRobot(1000)
    controller = Controller(
        robot, ScriptedDecider(lambda n, seen: 1 / 0), ControllerSettings(), robot.safety
    )
    with pytest.raises(ZeroDivisionError):
        controller.run()
    assert robot.stopped == 1


def test_a_drive_can_be_stopped_from_outside():
    robot, stop = NotedRobot(1000), threading.Event()
    stop.set()
    controller = Controller(robot, ScriptedDecider(None), ControllerSettings(), robot.safety)
    assert controller.run(stop).outcome == "stopped"


# ---- Figures and settings ----


def test_late_and_missed_ticks_are_counted():
    record = DriveRecord(ticks=8, missed_ticks=2, late_ms=[0.1] * 7 + [11.0], period=0.1)
    assert record.late_share == pytest.approx(3 / 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    (
        ({"merge": "mean"}, "unknown merge 'mean'"),
        ({"decide_every": 0}, "decide_every must be at least 1"),
        ({"wait_fraction": 0.9}, r"wait_fraction must be 0 to 0\.8"),
    ),
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ControllerSettings(**changes)


def test_the_period_is_the_embodiment_s():
    robot = NotedRobot(1)
    controller = Controller(robot, ScriptedDecider(None), ControllerSettings(), robot.safety)
    assert controller.period == pytest.approx(1.0 / EMBODIMENT.rate_hz)
