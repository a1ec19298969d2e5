"""Our policies and environment under stable-baselines3's own evaluation, as they are."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy

import helmsight.envs  # noqa: F401  registers the environment
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig


def make_environment(simulator: str, cameras: str) -> gymnasium.Env:
    return gymnasium.make(
        "helmsight/Parking-v0",
        family="standard",
        split="val",
        cameras=cameras,
        image_size=32,
        simulator=simulator,
    )


@pytest.mark.parametrize("cameras", ["none", "surround4"])
def test_evaluate_policy_runs_our_policy_as_it_is(cameras: str) -> None:
    environment = make_environment("kinematic", cameras)
    embodiment = environment.unwrapped.embodiment  # type: ignore[attr-defined]
    statistics = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}
    torch.manual_seed(0)
    config = ParkingPolicyConfig(sees="nothing" if cameras == "none" else "cameras")
    policy = ParkingPolicy(config, embodiment, statistics).eval()
    rewards, lengths = evaluate_policy(
        policy, environment, n_eval_episodes=1, return_episode_rewards=True, warn=False
    )
    assert len(rewards) == len(lengths) == 1
    assert all(1 <= length <= 300 for length in lengths)
    assert np.isfinite(rewards).all()


@pytest.mark.rendering
def test_the_checker_of_gymnasium_passes_over_mujoco() -> None:
    check_env(make_environment("mujoco", "surround4").unwrapped)
