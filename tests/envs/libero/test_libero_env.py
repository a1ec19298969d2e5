from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from libero_worlds import NEEDS_PACKAGE, NEEDS_SCENES, actions

import helmsight.envs  # noqa: F401  registers the environment
from helmsight.envs.libero import tasks
from helmsight.envs.libero.env import LiberoEnvironment

STATE = "observation.state"


def driven(environment, episode, seed=0, count=3):
    """The states of an episode's beginning, [count + 1, 8]."""
    environment.restart(options={"episode": episode})
    states = [environment.observe_state()[STATE]]
    for action in actions(count, seed):
        environment.advance(action)
        states.append(environment.observe_state()[STATE])
    return np.array(states)


@NEEDS_SCENES
@pytest.mark.rendering
@pytest.mark.filterwarnings("ignore")
def test_gymnasiums_checker_is_content():
    environment = gymnasium.make(
        "helmsight/Libero-v0", task=7, image_size=16, render="fast", disable_env_checker=True
    )
    check_env(environment.unwrapped, skip_render_check=True)
    environment.close()


@NEEDS_SCENES
def test_an_episode_is_the_same_world_in_any_order(environment):
    first = driven(environment, 353)
    driven(environment, 12)
    driven(environment, 354)
    np.testing.assert_array_equal(driven(environment, 353), first)


@NEEDS_SCENES
def test_one_tasks_episodes_are_those_of_the_suite(environment):
    alone = LiberoEnvironment(task=7, image_size=32)
    np.testing.assert_array_equal(driven(alone, 3), driven(environment, 353))
    assert alone.scenario.number == 353


@NEEDS_SCENES
def test_fresh_episodes_depend_on_split_and_number_alone():
    environments = {
        split: LiberoEnvironment(task=7, protocol="fresh", split=split, image_size=32)
        for split in ("train", "test")
    }

    def scene(split, episode):
        environments[split].restart(options={"episode": episode})
        return environments[split].simulator.state().physics

    first = scene("train", 77)
    assert not np.array_equal(scene("test", 77), first)
    assert not np.array_equal(scene("train", 78), first)
    np.testing.assert_array_equal(scene("train", 77), first)


@NEEDS_SCENES
def test_no_image_is_made_unless_it_is_asked_for(environment, monkeypatch):
    def render(*_):
        raise AssertionError("an image was made")

    monkeypatch.setattr(environment, "_images", render)
    environment.restart(options={"episode": 0})
    environment.advance(actions(1)[0])
    assert set(environment.observe_state()) == {STATE}


@NEEDS_SCENES
@pytest.mark.rendering
def test_one_renderer_serves_all_tasks(environment):
    environment.reset(options={"episode": 0})
    renderer = environment._renderer
    observation, _ = environment.reset(options={"episode": 350})
    assert environment._renderer is renderer
    assert environment.observation_space.contains(observation)


@NEEDS_SCENES
def test_blank_cameras_are_black_and_cost_no_renderer():
    environment = LiberoEnvironment(task=7, image_size=32, blank_cameras=True)
    observation, _ = environment.reset(options={"episode": 0})
    assert not observation["observation.images.agentview"].any()
    assert environment._renderer is None


@NEEDS_SCENES
def test_the_task_says_what_the_arm_is_told():
    environment = LiberoEnvironment(task=7, instruction="swapped")
    info = environment.restart(options={"episode": 0})
    assert info["task"].startswith("pick up the ") and "milk" not in info["task"]
    environment.simulator.reset_to(0)
    assert "milk_1" not in environment.simulator.goal[0]


@NEEDS_SCENES
@pytest.mark.parametrize("task", [34, 37, 39])
def test_a_swapped_task_is_not_done_before_the_arm_moves(task):
    environment = LiberoEnvironment("libero_90", task=task, instruction="swapped", image_size=32)
    environment.restart(options={"episode": 0})
    assert not environment.simulator.is_success()
    environment.close()


@NEEDS_SCENES
def test_an_episode_ends_at_its_step_limit_and_then_stops(environment, monkeypatch):
    monkeypatch.setitem(tasks.STEP_LIMITS, "libero_object", 2)
    environment.restart(options={"episode": 350})
    assert environment.advance(actions(1)[0])[1:3] == (False, False)
    _, terminated, truncated, info = environment.advance(actions(1)[0])
    assert (terminated, truncated, info["is_success"]) == (False, True, False)
    assert info["episode_metrics"] == {
        "outcome": "TR",
        "task_index": 7,
        "task_name": "pick_up_the_milk_and_place_it_in_the_basket",
        "scene": 0,
    }
    with pytest.raises(ResetNeeded):
        environment.advance(actions(1)[0])


@NEEDS_SCENES
def test_success_ends_the_episode_with_a_reward(environment, monkeypatch):
    environment.restart(options={"episode": 350})
    monkeypatch.setattr(environment.simulator, "is_success", lambda: True)
    reward, terminated, truncated, info = environment.advance(actions(1)[0])
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["episode_metrics"]["outcome"] == "SR"


@NEEDS_SCENES
@pytest.mark.parametrize("episode", [-1, 500])
def test_an_episode_that_there_is_not_is_refused(environment, episode):
    with pytest.raises(ValueError, match="0 to 499"):
        environment.restart(options={"episode": episode})


@NEEDS_SCENES
@pytest.mark.parametrize(("noise", "protocol"), [(-1.0, "fresh"), (0.1, "official")])
def test_arm_noise_that_cannot_be_is_refused(noise, protocol):
    with pytest.raises(ValueError, match="arm_noise must be 0 or more"):
        LiberoEnvironment(arm_noise=noise, protocol=protocol)


@NEEDS_SCENES
def test_an_action_out_of_range_is_named(environment):
    environment.restart(options={"episode": 0})
    with pytest.raises(ValueError, match=r"'rotation_y' must be in \[-1, 1\], got 1.5"):
        environment.advance(np.array([0, 0, 0, 0, 1.5, 0, 0]))


@NEEDS_PACKAGE
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "libero"}, "the suites are libero_spatial"),
        ({"task": 10}, "its tasks are\n  0: pick up the alphabet soup"),
        ({"protocol": "lax"}, "'official', 'fresh'"),
        ({"render": "nice"}, "'official', 'fast'"),
        ({"split": "all"}, "'train', 'val', 'test'"),
    ],
)
def test_wrong_options_are_answered_with_the_choices(options, message, monkeypatch):
    monkeypatch.setattr("helmsight.envs.libero.env.require_assets", lambda: None)
    with pytest.raises(ValueError, match=message):
        LiberoEnvironment(**options)


@NEEDS_PACKAGE
def test_missing_assets_are_found_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("HELMSIGHT_LIBERO_ASSETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="scene assets are missing"):
        LiberoEnvironment()
