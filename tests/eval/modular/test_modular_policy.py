import functools

import gymnasium
import numpy as np
import pytest
import torch

import helmsight.envs  # noqa: F401  registers the environment
from helmsight.envs.geometry import Pose
from helmsight.envs.parking.vehicle import STATE
from helmsight.eval.modular.perception import LABEL_KEY, LabelPerception
from helmsight.eval.modular.policy import ModularConfig, ModularPolicy, ReplanConfig
from helmsight.eval.rollout import EpisodeRunner, batch_of_one

REVERSE = "Reverse into the target slot and stop."


def policy(**replan):
    """A driver that plans at its first look, unless another number is given."""
    config = ModularConfig(replan=ReplanConfig(**{"look_first": 1} | replan))
    return ModularPolicy(LabelPerception(), config)


def environment(**options):
    return gymnasium.make(
        "helmsight/Parking-v0",
        disable_env_checker=True,
        **{"split": "val", "simulator": "kinematic", "birds_eye": True, "cameras": "none"}
        | options,
    )


class Remembering(ModularPolicy):
    """Keeps what it was shown and what it answered."""

    def __init__(self):
        super().__init__(LabelPerception(), ModularConfig(replan=ReplanConfig(look_first=1)))
        self.shown, self.answered = [], []

    def select_action(self, observation):
        self.shown.append(observation)
        self.answered.append(super().select_action(observation))
        return self.answered[-1]


@functools.cache
def driven():
    """A parked episode, with what the driver was shown and answered."""
    driver = Remembering()
    record = EpisodeRunner(environment, driver).run(0)
    driver.shown, driver.answered = driver.shown[1:], driver.answered[1:]  # the warm-up
    return record, driver


def shown(label=None, **state):
    """An observation of a car at rest, 7 m before and 6 m beside its target."""
    values = {"target_x": -6.0, "target_y": 7.0, "target_yaw": -1.5708} | state
    vector = np.array([values.get(name, 0.0) for name in STATE.names], np.float32)
    if label is None:
        label = np.zeros((200, 200), np.uint8)
    return batch_of_one({"observation.state": vector, LABEL_KEY: label}, REVERSE)


def walled_in():
    label = np.ones((200, 200), np.uint8)
    label[55:115, 85:115] = 0  # free around the car, and nowhere else
    return label


@pytest.mark.parametrize(
    ("family", "approach"),
    [("standard", "reverse"), ("standard", "forward"), ("cluttered", "reverse")],
)
def test_it_parks_with_perfect_perception(family, approach):
    make = functools.partial(environment, family=family, approach=approach)
    record = EpisodeRunner(make, policy()).run(0)
    assert record.error is None
    assert record.outcome == "TSR"
    assert record.metrics["position_error"] < 0.4


def test_its_actions_are_a_function_of_what_it_is_shown_and_of_nothing_else():
    record, driver = driven()
    assert record.success
    again = policy()  # bound to no environment
    assert not hasattr(again, "bind")
    for observation, action in zip(driver.shown, driver.answered, strict=True):
        assert torch.equal(again.select_action(observation), action)


def test_after_a_reset_nothing_of_the_last_episode_is_left():
    _, driver = driven()
    again = policy()
    for _ in range(2):
        again.reset()
        actions = [again.select_action(observation) for observation in driver.shown[:30]]
        assert torch.equal(torch.cat(actions), torch.cat(driver.answered[:30]))


def test_it_looks_at_the_label_and_the_state_only():
    assert policy().observation_keys() == [LABEL_KEY, "observation.state"]


def test_it_looks_before_it_plans_and_holds_the_brake_meanwhile():
    driver = policy(look_first=3)
    actions = [driver.select_action(shown()) for _ in range(2)]
    assert all(action[0, 0] < 0.0 for action in actions)
    assert driver.plans_made == 0
    driver.select_action(shown())
    assert driver.plans_made == 1


def test_neighbours_seen_later_move_the_goal():
    driver = policy()
    for _ in range(3):
        driver.select_action(shown())
    label = np.zeros((200, 200), np.uint8)
    # The target is 6 m behind and 7 m to the left; its left side is ahead of the car's middle.
    left = Pose(-6.0, 7.0, -1.5708).transform(Pose(1.4, 2.05, 0.0))
    row, column = round((10.0 - left.x) / 0.1), round((10.0 - left.y) / 0.1)
    label[row - 9 : row + 10, column - 23 : column + 23] = 1
    for _ in range(12):
        driver.select_action(shown(label))
    assert driver.plans_made == 2


def test_without_a_path_it_brakes_and_tries_again_later(monkeypatch):
    driver = policy(retry_every=3)
    tried = []
    make_plan = ModularPolicy._make_plan
    monkeypatch.setattr(
        ModularPolicy, "_make_plan", lambda *args: (tried.append(1), make_plan(*args))
    )
    actions = [driver.select_action(shown(walled_in())) for _ in range(4)]
    assert all(action[0, 0] < 0.0 for action in actions)
    assert driver.plans_made == 0
    assert len(tried) == 2


def test_it_plans_once_the_way_becomes_free():
    driver = policy(retry_every=1)
    driver.select_action(shown(walled_in()))
    assert driver.plans_made == 0
    for _ in range(4):
        driver.select_action(shown())
    assert driver.plans_made == 1


def test_something_new_on_the_path_makes_it_plan_anew():
    driver = policy()
    driver.select_action(shown())
    x, y, _ = driver.diagnostics()["waypoints"][5]  # after 5 m
    label = np.zeros((200, 200), np.uint8)
    row, column = round((10.0 - x) / 0.1), round((10.0 - y) / 0.1)
    label[row - 3 : row + 3, column - 3 : column + 3] = 1
    for _ in range(6):
        driver.select_action(shown(label))
    assert driver.plans_made >= 2


def test_something_new_beside_the_path_does_not():
    driver = policy()
    label = np.zeros((200, 200), np.uint8)
    label[190:, 190:] = 1
    driver.select_action(shown())
    for _ in range(12):
        driver.select_action(shown(label))
    assert driver.plans_made == 1


def test_a_car_that_is_off_its_path_plans_anew():
    driver = policy()
    driver.select_action(shown())
    for _ in range(12):
        driver.select_action(shown(target_y=7.6))
    assert driver.plans_made == 2


def test_a_parked_car_holds_the_brake_in_the_gear_of_its_entry():
    driver = policy()
    for _ in range(30):
        action = driver.select_action(shown(target_x=0.02, target_y=0.03, target_yaw=0.01))
    acceleration, _, reverse = action[0].tolist()
    assert acceleration < 0.0
    assert reverse == 1.0


def test_diagnostics_show_the_map_and_the_way_ahead():
    driver = policy()
    driver.select_action(shown(walled_in()))
    assert driver.diagnostics()["birds_eye"].mean() > 0.7
    assert driver.diagnostics()["waypoints"].shape == (0, 3)


def test_another_task_is_refused():
    observation = {**shown(), "task": ["fold the towel"]}
    with pytest.raises(ValueError, match="its task must be 'Drive forward"):
        policy().select_action(observation)


def test_an_environment_without_the_label_is_refused():
    observation = shown()
    del observation[LABEL_KEY]
    with pytest.raises(ValueError, match="birds_eye=True"):
        policy().select_action(observation)
