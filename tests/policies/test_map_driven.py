"""Policies that drive by the map of what their cameras see, and remember it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parking_batches import random_batch, random_observation, tiny_policy

from helmsight.policies.base import load_policy
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.parking import ParkingPolicy
from helmsight.policies.parking.label_noise import as_eyes_see
from helmsight.policies.parking.semantics import OBSTACLE, label_shares
from helmsight.policies.parking.view import MapView
from helmsight.training.fine_tuning import prepared

MAP: dict[str, Any] = {"image_stride": 4, "drives_by": "map"}
REMEMBERING: dict[str, Any] = {**MAP, "memory": MapMemoryConfig(enabled=True)}


def observed(policy: ParkingPolicy, seed: int) -> dict[str, torch.Tensor]:
    observation = random_observation(policy.embodiment)
    random = np.random.default_rng(seed)
    for key in policy.embodiment.image_keys:
        observation[key] = random.integers(0, 256, observation[key].shape, dtype=np.uint8)
    return policy.to_batch(observation)


def test_what_drives_teaches_the_eyes_nothing_and_the_label_does() -> None:
    policy = tiny_policy(**MAP).train()
    _, parts = policy(random_batch(policy.embodiment, 2))
    parts["action"].backward(retain_graph=True)
    driven = {name for name, value in policy.named_parameters() if value.grad is not None}
    assert "view.embed.weight" in driven
    assert not any(name.startswith(("view.encoder.", "view.semantic_head.")) for name in driven)
    (parts["semantics"] + parts["depth"]).backward()
    seeing = {name for name, value in policy.named_parameters() if value.grad is not None}
    assert {"view.encoder.lateral.weight", "view.semantic_head.0.weight"} <= seeing


def test_the_label_is_looked_at_in_training_alone_and_out_of_sight_alone() -> None:
    policy = tiny_policy(**MAP)
    view = policy.view
    assert isinstance(view, MapView)
    batch = random_batch(policy.embodiment, 2)
    other = batch["observation.birds_eye"].clone()
    other[:] = OBSTACLE
    told = batch | {"observation.birds_eye": other}
    assert torch.equal(policy.predict_action_chunk(batch), policy.predict_action_chunk(told))
    before, after = (policy(one)[1]["action"] for one in (batch, told))
    assert before != after
    view.memory.in_sight.fill_(1.0)  # a car with eyes everywhere
    before, after = (policy(one)[1]["action"] for one in (batch, told))
    assert before == after


def test_a_memory_changes_the_decision_and_a_new_episode_begins_without_one() -> None:
    policy = tiny_policy(**REMEMBERING, map_threshold=0.34)
    first, second = observed(policy, 1), observed(policy, 2)
    fresh = policy.select_action(second)
    policy.reset()
    policy.select_action(first)
    after_first = policy.select_action(second)
    policy.reset()
    again = policy.select_action(second)
    assert torch.equal(fresh, again)
    assert not torch.equal(fresh, after_first)


def test_a_decision_hands_on_what_the_next_one_is_given() -> None:
    policy = tiny_policy(**REMEMBERING)
    first, second = observed(policy, 1), observed(policy, 2)
    policy.select_action(first)
    driven = policy.select_action(second)
    chunk, memory = policy.decide(first, torch.zeros(1, policy.memory_size))
    chunk, memory = policy.decide(second, memory)
    assert torch.equal(chunk[:, 0], driven)
    assert memory.shape == (1, policy.memory_size)


def test_a_policy_without_memory_hands_on_nothing() -> None:
    policy = tiny_policy(**MAP)
    assert policy.memory_size == 0
    seen = observed(policy, 1)
    assert torch.equal(policy.select_action(seen), policy.select_action(seen))


def test_the_map_that_is_shown_is_the_one_that_is_driven_by() -> None:
    policy = tiny_policy(**REMEMBERING)
    view = policy.view
    assert isinstance(view, MapView)
    full = torch.zeros(1, policy.memory_size)
    side = view.memory.side
    full[:, : side**2], full[:, side**2 : 2 * side**2] = 1.0, 1e3  # all was seen to be occupied
    seen = observed(policy, 1)
    full[:, -3:] = seen["observation.state"][:, policy._target]
    policy.decide(seen, full)
    assert (policy.diagnostics()["birds_eye"] == OBSTACLE).mean() > 0.9


def test_eyes_come_from_the_start_and_what_drives_from_the_teacher(tmp_path: Path) -> None:
    teacher, eyes = tiny_policy(sees="label", seed=1), tiny_policy(image_stride=4, seed=2)
    teacher.save(tmp_path / "teacher")
    eyes.save(tmp_path / "eyes")
    config = tiny_policy(**REMEMBERING).config
    make = prepared(
        lambda robot, values: ParkingPolicy(config, robot, values),
        start=tmp_path / "eyes",
        teacher=tmp_path / "teacher",
    )
    pupil = make(eyes.embodiment, eyes.statistics)
    own = pupil.state_dict()
    assert torch.equal(own["view.merge.0.weight"], eyes.state_dict()["view.merge.0.weight"])
    assert torch.equal(own["view.embed.weight"], teacher.state_dict()["view.embed.weight"])
    assert torch.equal(
        own["view.birds_eye.norm.weight"], teacher.state_dict()["view.birds_eye.norm.weight"]
    )


def test_a_map_of_the_true_classes_is_what_its_teacher_is_shown() -> None:
    """The eyes aside, pupil and teacher are one: shown the same map, they make the same tokens."""
    teacher, pupil = tiny_policy(sees="label", seed=1), tiny_policy(**MAP, seed=2)
    pupil.learn_from(teacher)
    view = pupil.view
    assert isinstance(view, MapView)
    view.memory.in_sight.zero_()  # everything is taken from the label
    batch = random_batch(pupil.embodiment, 2)
    _, _, shown = pupil._tokens(batch, batch["observation.birds_eye"])
    _, _, known = teacher._tokens(batch)
    assert shown is not None and known is not None
    torch.testing.assert_close(shown.tokens, known.tokens)


def test_it_is_saved_and_loaded_with_its_memory(tmp_path: Path) -> None:
    policy = tiny_policy(**REMEMBERING)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    seen = observed(policy, 3)
    assert loaded.memory_size == policy.memory_size > 0
    assert torch.equal(loaded.select_action(seen), policy.select_action(seen))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drives_by": "map"}, "drives_by=map needs image_stride=4, got 8"),
        ({"memory": MapMemoryConfig(enabled=True)}, "memory.enabled=true needs drives_by=map"),
        ({"drives_by": "hope"}, "unknown drives_by 'hope'; expected one of features, map"),
        ({"map_threshold": 1.0}, "map_threshold must be between 0 and 1, got 1.0"),
        ({"label_noise": -1.0}, "label_noise must be 0 or more, got -1"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_policy(**changes)


def test_a_disturbed_label_is_still_mostly_the_label() -> None:
    torch.manual_seed(0)
    label = torch.zeros(32, 200, 200, dtype=torch.uint8)
    label[:, 60:90, 40:80] = OBSTACLE
    shares = label_shares(label)
    seen = as_eyes_see(shares, 1.0)
    torch.testing.assert_close(seen.sum(dim=1), torch.ones(32, 64, 64))
    near = shares[:, OBSTACLE, 16:48, 8:48]
    wrong = (seen[:, OBSTACLE, 16:48, 8:48] - near).abs()
    assert 0.002 < wrong.mean() < 0.2
    clean = (seen == shares).all(dim=(1, 2, 3))
    assert 0 < clean.sum() < 16


def test_without_noise_the_label_stays_as_it_is_and_so_it_does_in_evaluation() -> None:
    shares = label_shares(torch.randint(0, 3, (4, 200, 200), dtype=torch.uint8))
    assert torch.equal(as_eyes_see(shares, 0.0), shares)
    policy = tiny_policy(sees="label", label_noise=1.0)
    batch = random_batch(policy.embodiment, 4)
    assert torch.equal(policy.predict_action_chunk(batch), policy.predict_action_chunk(batch))
    torch.manual_seed(0)
    policy.train()
    assert policy(batch)[1]["action"] != policy(batch)[1]["action"]
