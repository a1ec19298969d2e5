"""Single attempts in the kinematic simulator."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.training.collection.demonstration import FailedAttempt
from helmsight.training.collection.parking.attempt import draw_attempt
from helmsight.training.collection.parking.demonstrator import ParkingDemonstrator
from helmsight.training.collection.parking.disturbance import Disturbance
from helmsight.training.collection.parking.policy_driver import PolicyDriver
from helmsight.training.collection.parking.recording import parking_features
from helmsight.training.collection.parking.settings import ParkingCollection

SETTINGS = ParkingCollection(
    Path("unused"), 1, cameras="none", birds_eye=False, simulator="kinematic"
)
FEATURES = parking_features(SETTINGS)
CLEAN = dataclasses.replace(draw_attempt(SETTINGS, 0), mode="clean", family="standard", index=5)


@pytest.fixture
def environment():
    environment = ParkingEnvironment(simulator="kinematic", cameras="none")
    yield environment
    environment.close()


class _Recklessly(PolicyDriver):
    """A policy that always turns left at full throttle, or brakes."""

    def __init__(self, action):
        self.action = np.array(action, np.float32)
        self.driven = []

    def drive(self, environment, periods):
        self.driven = []
        for _ in range(periods):
            self.driven.append(self.action)
            _, terminated, truncated, info = environment.advance(self.action)
            if terminated or truncated:
                return self.driven, info["episode_metrics"]["outcome"]
        return self.driven, None


def test_replaying_a_clean_demonstration_visits_the_recorded_states(environment):
    columns = ParkingDemonstrator(environment, FEATURES).run(CLEAN).columns
    environment.restart(options={"scenario": CLEAN.scenario()})
    for action, recorded, observed in zip(
        columns["action"], columns["simulator.state"], columns["observation.state"], strict=True
    ):
        state = environment.vehicle_state()
        now = [*state.pose, state.speed, state.steering_angle]
        np.testing.assert_allclose(recorded, now, atol=1e-5)
        np.testing.assert_array_equal(observed, environment.observe_state()["observation.state"])
        environment.advance(action)


def test_a_demonstration_ends_after_about_a_second_of_standing(environment):
    columns = ParkingDemonstrator(environment, FEATURES).run(CLEAN).columns
    standing = np.abs(columns["simulator.state"][:, 3]) < 1e-4
    trailing = len(standing) - 1 - np.nonzero(~standing)[0][-1]
    assert trailing == 10
    assert columns["next.done"].tolist() == [False] * (len(standing) - 1) + [True]
    assert columns["next.success"][-1]


def test_only_the_correction_of_a_disturbance_is_recorded(environment):
    attempt = dataclasses.replace(
        CLEAN,
        mode="disturbed",
        handover_time=2.0,
        disturbance=Disturbance(duration=10, steer=0.8, speed=0.8, swaps_gear=False),
    )
    columns = ParkingDemonstrator(environment, FEATURES).run(attempt).columns
    assert np.linalg.norm(columns["simulator.state"][0, :2] - attempt.scenario().start[:2]) > 0.5
    environment.restart(options={"scenario": attempt.scenario()})
    start = environment.observe_state()["observation.state"]
    assert np.abs(columns["observation.state"][0] - start)[-3:].max() > 0.3


def test_the_expert_takes_over_from_a_policy_where_it_stands(environment):
    policy = _Recklessly([0.1, 0.0, 0.0])
    attempt = dataclasses.replace(CLEAN, mode="handover", handover_time=1.5)
    columns = ParkingDemonstrator(environment, FEATURES, policy).run(attempt).columns
    assert len(policy.driven) == 15
    assert columns["simulator.state"][0, 3] > 0.2


def test_a_policy_that_crashes_hands_over_shortly_before(environment):
    policy = _Recklessly([0.15, 0.0, 0.0])
    attempt = dataclasses.replace(CLEAN, mode="handover", handover_time=60.0, back_off=2.5)
    start = attempt.scenario().start
    ahead = start.transform(start._replace(x=12.0, y=0.0, yaw=0.0))
    scenario = attempt.scenario()
    box = dataclasses.replace(scenario.cars[0], pose=ahead)
    blocked = dataclasses.replace(scenario, cars=(*scenario.cars, box))
    environment.restart(options={"scenario": blocked})
    demonstrator = ParkingDemonstrator(environment, FEATURES, policy)
    demonstrator._roll_in(attempt)
    assert environment.vehicle_state().speed > 0.5
    environment.advance(np.array([-1.0, 0.0, 0.0], np.float32))
    steps = environment._task.steps
    assert steps == len(policy.driven) - 25 + 1


class _Stubbornly(PolicyDriver):
    """A policy that does one and the same thing, driven as any other."""

    def __init__(self, action):
        self.action = np.array(action, np.float32)
        self._policy = self

    def reset(self):
        pass

    def _decide(self, environment):
        return self.action


def test_a_policy_that_stands_on_its_way_hands_over_where_it_is_stuck(environment):
    environment.restart(options={"scenario": CLEAN.scenario()})
    actions, outcome = _Stubbornly([-1.0, 0.0, 0.0]).drive(environment, 200)
    assert (len(actions), outcome) == (40, None)


def test_a_policy_that_moves_to_and_fro_is_stuck_as_well(environment):
    class Undecided(_Stubbornly):
        def _decide(self, environment):
            self.action[2] = environment._task.steps // 4 % 2
            return self.action

    environment.restart(options={"scenario": CLEAN.scenario()})
    actions, outcome = Undecided([0.05, 0.0, 0.0]).drive(environment, 200)
    assert 40 <= len(actions) < 200 and outcome is None


def test_a_policy_that_moves_drives_for_all_its_time(environment):
    environment.restart(options={"scenario": CLEAN.scenario()})
    actions, outcome = _Stubbornly([0.1, 0.0, 0.0]).drive(environment, 30)
    assert (len(actions), outcome) == (30, None)


def test_an_expert_without_a_plan_is_a_failed_attempt(environment, monkeypatch):
    from helmsight.envs.parking.expert import ParkingExpert, PlanningFailure

    def refuse(self, state):
        raise PlanningFailure("walled in")

    monkeypatch.setattr(ParkingExpert, "plan", refuse)
    with pytest.raises(FailedAttempt, match="expert: no plan"):
        ParkingDemonstrator(environment, FEATURES).run(CLEAN)


def test_an_expert_that_takes_too_long_is_a_failed_attempt(environment, monkeypatch):
    from helmsight.training.collection.parking.attempt import ParkingAttempt

    monkeypatch.setattr(ParkingAttempt, "expert_time_limit", 3.0)
    with pytest.raises(FailedAttempt, match="expert: TR"):
        ParkingDemonstrator(environment, FEATURES).run(CLEAN)
