from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from parking_batches import random_batch, random_observation, tiny_policy
from torch import Tensor

from helmsight.policies.base import (
    Observation,
    Policy,
    config_from_dict,
    load_policy,
    policy_type,
)
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig


def without(observation: Observation, key: str) -> Observation:
    return {name: value for name, value in observation.items() if name != key}


def edit_weights(folder: Path, **changes: Tensor | None) -> None:
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file) | changes
    safetensors.torch.save_file({k: v for k, v in weights.items() if v is not None}, file)


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    saved = json.loads(file.read_text())
    file.write_text(json.dumps({**saved, "config": {**saved["config"], **changes}}))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    tiny_policy().save(folder)
    return folder


# ---- Saving and loading ----


@pytest.mark.parametrize(
    "changes",
    (
        {"head": "action_chunk"},
        {"head": "target_speed", "birds_eye": "lift_splat"},
        {"head": "control_tokens", "signal": "mean_logit"},
        {"sees": "nothing"},
    ),
)
def test_a_loaded_policy_acts_as_the_saved_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    policy = tiny_policy(**changes)
    policy.train()
    policy(random_batch(policy.embodiment, 3))  # moves what a batch normalisation remembers
    policy.eval()
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert isinstance(loaded, ParkingPolicy)
    assert loaded.config == policy.config
    assert loaded.embodiment == policy.embodiment
    assert not loaded.training
    observation = random_observation(policy.embodiment, count=2)
    batch = policy.to_batch(observation, single=False)
    assert torch.equal(loaded.predict_action_chunk(batch), policy.predict_action_chunk(batch))


def test_a_run_folder_loads_like_the_policy_in_it(saved: Path) -> None:
    assert isinstance(load_policy(saved.parent), ParkingPolicy)
    assert isinstance(load_policy(str(saved)), ParkingPolicy)


def test_a_folder_without_a_policy_says_what_is_missing(saved: Path) -> None:
    (saved / "statistics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"statistics\.json missing"):
        load_policy(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    (
        ({"state_tokens.bias": None}, r"missing tensor state_tokens\.bias"),
        ({"extra.weight": torch.zeros(1)}, r"unexpected tensor extra\.weight"),
        (
            {"state_tokens.bias": torch.zeros(3)},
            r"state_tokens\.bias has shape \(3,\), expected \(32,\)",
        ),
    ),
)
def test_weights_that_do_not_fit_are_named(
    saved: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    edit_weights(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load_policy(saved)


def test_every_problem_of_the_weights_is_named_at_once(saved: Path) -> None:
    edit_weights(saved, **{"state_tokens.bias": None, "extra.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"missing tensor.*unexpected tensor"):
        load_policy(saved)


def test_a_truncated_weights_file_is_named(saved: Path) -> None:
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model\.safetensors is no readable safetensors file"):
        load_policy(saved)


def test_an_unknown_option_is_named_with_its_near_match(saved: Path) -> None:
    edit_config(saved, fusion_layer=2)
    with pytest.raises(ValueError, match=r"no option 'fusion_layer'; did you mean 'fusion_layers'"):
        load_policy(saved)


def test_an_unknown_option_of_a_part_is_named_with_its_part() -> None:
    with pytest.raises(
        ValueError, match=r"DepthBins has no option 'neer'; did you mean 'near'.*count, far, near"
    ):
        config_from_dict(ParkingPolicyConfig, {"depth": {"neer": 0.3}})


def test_a_configuration_survives_json() -> None:
    config = ParkingPolicyConfig(chunk=6, state_inputs=("speed",))
    plain = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(ParkingPolicyConfig, plain) == config


def test_an_unknown_policy_type_is_named_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"unknown policy type 'praking'; known are .*parking"):
        policy_type("praking")


# ---- Prediction ----


def test_a_single_observation_gives_a_single_action() -> None:
    policy = tiny_policy()
    action, state = policy.predict(random_observation(policy.embodiment))
    assert action.shape == (3,) and action.dtype == np.float32
    assert state is None
    low, high = policy.embodiment.action.low, policy.embodiment.action.high
    assert bool(((low <= action) & (action <= high)).all())


def test_a_batch_of_observations_gives_a_batch_of_actions() -> None:
    policy = tiny_policy()
    action, _ = policy.predict(random_observation(policy.embodiment, count=5))
    assert action.shape == (5, 3)


def test_the_recurrent_state_is_handed_through() -> None:
    policy, state = tiny_policy(sees="nothing"), (np.zeros(2),)
    assert policy.predict(random_observation(policy.embodiment), state=state)[1] is state


@pytest.mark.parametrize("key", ("observation.images.left", "observation.state"))
def test_a_missing_observation_key_is_named(key: str) -> None:
    policy = tiny_policy()
    observation = without(random_observation(policy.embodiment), key)
    with pytest.raises(KeyError, match=f"lacks '{key}'; it has observation"):
        policy.predict(observation)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    (
        (
            "observation.images.left",
            np.zeros((16, 32, 3), np.uint8),
            r"\[32, 32, 3\].*\[16, 32, 3\]",
        ),
        ("observation.images.left", np.zeros((32, 32, 3), np.float32), r"uint8.*got float32"),
        ("observation.state", np.zeros(7, np.float32), r"\[8\], got float32 \[7\]"),
    ),
)
def test_an_observation_of_another_shape_or_type_is_named(
    key: str, value: np.ndarray, message: str
) -> None:
    policy = tiny_policy()
    observation = {**random_observation(policy.embodiment), key: value}
    with pytest.raises(ValueError, match=f"'{key}' must be .*{message}"):
        policy.predict(observation)


# ---- The queue of a chunk's actions ----


def counted(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a decision."""
    decisions: list[int] = []
    original = policy.predict_action_chunk

    def predict(observation: dict[str, Tensor]) -> Tensor:
        decisions.append(1)
        return original(observation)

    monkeypatch.setattr(policy, "predict_action_chunk", predict)
    return decisions


@pytest.mark.parametrize("steps", (1, 2, 4))
def test_so_many_actions_of_a_chunk_are_executed_as_configured(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny_policy(sees="nothing", steps_per_decision=steps)
    batch = policy.to_batch(random_observation(policy.embodiment))
    chunk = policy.predict_action_chunk(batch)
    decisions = counted(policy, monkeypatch)
    for step in range(8):
        assert policy.needs_observation == (step % steps == 0)
        assert torch.equal(policy.select_action(batch), chunk[:, step % steps])
    assert len(decisions) == 8 // steps


def test_between_decisions_no_observation_is_read() -> None:
    policy = tiny_policy(steps_per_decision=2)
    policy.select_action(policy.to_batch(random_observation(policy.embodiment)))
    assert not policy.needs_observation
    assert policy.select_action({}).shape == (1, 3)
    assert policy.needs_observation


def test_a_reset_forgets_the_rest_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(sees="nothing", steps_per_decision=4)
    decisions = counted(policy, monkeypatch)
    batch = policy.to_batch(random_observation(policy.embodiment))
    policy.select_action(batch)
    policy.reset()
    assert policy.needs_observation
    policy.select_action(batch)
    assert len(decisions) == 2


def test_an_episodes_start_decides_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(sees="nothing", steps_per_decision=4)
    decisions = counted(policy, monkeypatch)
    observation = random_observation(policy.embodiment)
    policy.predict(observation, episode_start=np.array([True]))
    policy.predict(observation, episode_start=np.array([False]))
    policy.predict(observation, episode_start=np.array([True]))
    assert len(decisions) == 2


@pytest.mark.parametrize("name", ["config.json", "statistics.json", "embodiment.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_description_is_named(saved: Path, name: str, text: str) -> None:
    (saved / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}|{saved.name}") as caught:
        load_policy(saved)
    assert "damaged" in str(caught.value)
