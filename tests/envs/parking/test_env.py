"""The Gymnasium environment over the kinematic simulator."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import helmsight.envs  # noqa: F401
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import STATE

STOP = np.array([-1.0, 0.0, 1.0], np.float32)


def make(**options):
    return ParkingEnvironment(**{"simulator": "kinematic", "image_size": 32, **options})


@pytest.fixture
def environment():
    environment = make()
    environment.reset(seed=0, options={"episode": 3})
    yield environment
    environment.close()


@pytest.mark.filterwarnings("ignore:.*maximum value is infinity.*")
@pytest.mark.parametrize("split", ["train", "test"])
def test_it_passes_the_gymnasium_checker(split):
    environment = gymnasium.make(
        "helmsight/Parking-v0",
        simulator="kinematic",
        split=split,
        depth=True,
        image_size=32,
        render_mode="rgb_array",
    )
    check_env(environment.unwrapped)
    environment.close()


def test_importing_the_package_loads_no_simulator_and_no_torch():
    code = (
        "import sys, helmsight.envs; "
        "print([name for name in ('mujoco', 'torch', 'cv2') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


def test_the_episode_option_chooses_the_scenario(environment):
    assert environment.scenario == make_scenario("standard", "train", 3)


@pytest.mark.parametrize("episode", [1.5, True, "a"])
def test_an_episode_that_is_no_whole_number_is_refused(environment, episode):
    with pytest.raises(ValueError, match="reset option 'episode' must be a whole number"):
        environment.reset(options={"episode": episode})


def test_the_same_episode_and_actions_give_the_same_observations_in_any_order():
    def drive(environment, index):
        environment.reset(options={"episode": index})
        for _ in range(5):
            observation, *_ = environment.step(np.array([0.5, 0.3, 0.0], np.float32))
        return observation

    one, other = make(), make()
    drive(other, 9)
    first, second = drive(one, 4), drive(other, 4)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_resets_without_an_episode_follow_the_seed():
    def indices(seed):
        environment = make(cameras="none")
        return [environment.reset(seed=seed)[1]["episode"]] + [
            environment.reset()[1]["episode"] for _ in range(3)
        ]

    assert indices(1) == indices(1)
    assert indices(1) != indices(2)


def test_a_finite_split_is_gone_through_before_any_episode_comes_twice():
    environment = make(split="test", cameras="none")
    first = environment.reset(seed=5)[1]["episode"]
    rest = [environment.reset()[1]["episode"] for _ in range(95)]
    assert sorted([first, *rest]) == list(range(96))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0, np.nan, 0.0], r"'steer' must be in \[-1, 1\], got nan"),
        ([np.inf, 0.0, 0.0], r"'acceleration' must be in \[-1, 1\], got inf"),
        ([0.0, 0.0, -0.5], r"'reverse' must be in \[0, 1\], got -0.5"),
        ([0.0, 1.5, 0.0], r"'steer' must be in \[-1, 1\], got 1.5"),
        ([0.0, 0.0], r"shape \(3,\) = \(acceleration, steer, reverse\), got \(2,\)"),
        (["fast", 0.0, 0.0], "must be 3 numbers"),
    ],
)
def test_a_bad_action_is_refused_by_name_and_moves_nothing(environment, action, message):
    before = environment.vehicle_state()
    with pytest.raises(ValueError, match=message):
        environment.advance(action)
    assert environment.vehicle_state() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "lunar"}, "unknown family 'lunar'; expected one of standard, cluttered"),
        ({"simulator": "unreal"}, "unknown simulator 'unreal'; expected one of 'mujoco'"),
        ({"target": "guess"}, "unknown target 'guess'; expected one of 'tracked', 'oracle'"),
        ({"cameras": "periscope"}, "unknown camera rig 'periscope'"),
        ({"render_mode": "human"}, "unknown render_mode 'human'"),
    ],
)
def test_an_unknown_choice_is_refused_when_the_environment_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_an_unknown_reset_option_is_refused(environment):
    with pytest.raises(ValueError, match="unknown reset option 'epsiode'"):
        environment.reset(options={"epsiode": 3})


def test_a_scenario_of_another_family_can_be_given_itself(environment):
    scenario = make_scenario("cluttered", "val", 5, "forward")
    _, info = environment.reset(options={"scenario": scenario})
    assert environment.scenario is scenario
    assert info["task"].startswith("Drive forward")
    with pytest.raises(ValueError, match="not both"):
        environment.reset(options={"scenario": scenario, "episode": 1})


def test_advancing_makes_no_image(environment, monkeypatch):
    def render(*_):
        raise AssertionError("rendered")

    monkeypatch.setattr(environment._simulator, "render", render)
    environment.advance(STOP)
    with pytest.raises(AssertionError, match="rendered"):
        environment.observe()


def test_standing_at_the_target_ends_with_success_and_its_metrics(environment):
    target = environment.scenario.target
    simulator = environment._simulator
    simulator._state = simulator._state._replace(pose=target)
    for _ in range(21):
        _, reward, terminated, truncated, info = environment.step(STOP)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["is_success"]
    assert info["episode_metrics"]["outcome"] == "TSR"
    with pytest.raises(ResetNeeded):
        environment.advance(STOP)


def test_the_time_limit_truncates_without_reward():
    environment = make(cameras="none")
    environment.reset(options={"episode": 0})
    truncated, steps = False, 0
    while not truncated:
        reward, terminated, truncated, info = environment.advance(STOP)
        steps += 1
        assert not terminated
    assert (steps, reward, info["episode_metrics"]["outcome"]) == (300, 0.0, "TR")


def test_driving_into_something_ends_with_a_collision():
    environment = make(cameras="none")
    environment.reset(options={"episode": 0})
    terminated = truncated = False
    while not (terminated or truncated):
        _, terminated, truncated, info = environment.advance(np.array([0.4, 0.5, 0.0]))
    assert terminated
    assert info["episode_metrics"]["outcome"] == "CR"
    assert info["episode_metrics"]["collided_with"] == "car"


def test_the_state_begins_with_the_true_target_and_the_oracle_keeps_it():
    environment = make(cameras="none", target="oracle")
    observation, _ = environment.reset(options={"episode": 1})
    for _ in range(20):
        observation, *_ = environment.step(np.array([0.4, 0.6, 0.0], np.float32))
    truth = environment.vehicle_state().pose.relative(environment.scenario.target)
    first = STATE.index("target_x")
    np.testing.assert_allclose(observation["observation.state"][first:], truth, rtol=1e-5)


def test_the_rendered_picture_holds_plan_and_cameras():
    environment = make(render_mode="rgb_array", cameras="surround6")
    environment.reset(options={"episode": 1})
    picture = environment.render()
    assert picture.shape == (512, 512 + 2 * (512 // 3), 3)
    assert picture.std() > 5


def test_a_closed_environment_can_be_closed_again_and_reset(environment):
    environment.close()
    environment.close()
    observation, _ = environment.reset(options={"episode": 3})
    assert observation in environment.observation_space
