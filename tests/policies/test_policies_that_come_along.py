"""The trained policies in `policies/weights/`, as they are."""

import numpy as np
import pytest
import torch

from helmsight.policies.base import load_model, load_policy
from helmsight.policies.pretrained import policy_folder, pretrained_names

MEGABYTES = {"parking-s": 10, "libero-object-s": 20}


@pytest.mark.parametrize("name", pretrained_names())
def test_each_is_loaded_by_its_name_in_single_precision(name):
    parameters = list(load_model(name).parameters())
    assert parameters
    assert all(parameter.dtype == torch.float32 for parameter in parameters)


@pytest.mark.parametrize("name", pretrained_names())
def test_each_says_how_it_was_made(name):
    text = (policy_folder(name) / "README.md").read_text(encoding="utf-8")
    assert "helmsight train" in text


@pytest.mark.parametrize(("name", "limit"), MEGABYTES.items())
def test_none_is_larger_than_promised(name, limit):
    assert (policy_folder(name) / "model.safetensors").stat().st_size < limit * 1e6


def test_the_arm_follows_its_ten_instructions_without_a_language_model(monkeypatch):
    policy = load_policy("libero-object-s")
    monkeypatch.setattr(policy.instructions, "_embed", None)
    asked = [name for name in policy.known_instructions if "place it in the basket" in name]
    assert len(asked) == 10
    for instruction in asked:
        policy.reset()
        observation = {
            key: np.zeros((128, 128, 3), np.uint8) for key in policy.embodiment.image_keys
        }
        observation["observation.state"] = np.zeros(8, np.float32)
        action, _ = policy.predict({**observation, "task": instruction})
        assert action.shape == (7,)
        assert np.isfinite(action).all()
