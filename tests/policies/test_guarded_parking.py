"""The parking policy with a guard that looks where it is about to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parking_batches import random_batch, random_observation, tiny_policy
from torch import Tensor

from helmsight.policies.base import load_policy
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.parking import ParkingPolicy

GUARD = CourseGuardConfig(enabled=True)


def decisions(guard: CourseGuardConfig, label: Tensor) -> Tensor:
    policy: ParkingPolicy = tiny_policy(sees="label", guard=guard)
    batch = random_batch(policy.embodiment, len(label))
    batch["observation.birds_eye"] = label
    batch["observation.state"][:, 0] = 1.0  # m/s
    return policy.predict_action_chunk(batch)


def test_where_nothing_stands_the_policy_drives_as_without_a_guard() -> None:
    free = torch.zeros(4, 200, 200, dtype=torch.uint8)
    torch.testing.assert_close(decisions(GUARD, free), decisions(CourseGuardConfig(), free))


def test_what_the_guard_does_it_does_for_the_whole_chunk() -> None:
    label = torch.zeros(2, 200, 200, dtype=torch.uint8)
    label[0] = 1  # walled in on all sides but where it stands
    label[0, 60:112, 88:112] = 0
    guarded, own = decisions(GUARD, label), decisions(CourseGuardConfig(), label)
    assert torch.equal(guarded[0], guarded[0, :1].expand_as(guarded[0]))
    assert not torch.equal(guarded[0], own[0])
    torch.testing.assert_close(guarded[1], own[1])


def test_a_blind_policy_has_no_guard() -> None:
    assert tiny_policy(sees="nothing", guard=GUARD).caution is None


def test_cameras_guard_by_what_they_make_of_the_pictures() -> None:
    policy = tiny_policy(guard=GUARD)
    assert policy.semantic_head is not None and policy.semantic_head.bias is not None
    with torch.no_grad():  # an obstacle in one of the 64 places of each token, and nowhere else
        policy.semantic_head.weight.zero_()
        policy.semantic_head.bias.view(3, 64)[1] = -9.0
        policy.semantic_head.bias.view(3, 64)[1, 10] = 9.0
    batch = random_batch(policy.embodiment, 8)
    batch["observation.state"][:, 0] = 1.0
    guarded = policy.predict_action_chunk(batch)
    policy.caution = None
    assert not torch.equal(guarded, policy.predict_action_chunk(batch))


def remembering(**changes: Any) -> ParkingPolicy:
    """A policy whose eyes see nothing but free ground."""
    policy = tiny_policy(guard=GUARD, memory=MapMemoryConfig(enabled=True), **changes)
    assert policy.semantic_head is not None and policy.semantic_head.bias is not None
    with torch.no_grad():
        policy.semantic_head.weight.zero_()
        policy.semantic_head.bias.view(3, 64)[1] = -9.0
    return policy


def moving(policy: ParkingPolicy, seed: int = 0) -> dict[str, Tensor]:
    observation = random_observation(policy.embodiment)
    state = np.random.default_rng(seed).uniform(-0.5, 0.5, 8).astype(np.float32)
    state[0] = 1.0  # m/s
    return policy.to_batch({**observation, "observation.state": state})


def all_occupied(policy: ParkingPolicy, batch: dict[str, Tensor]) -> Tensor:
    """A memory of obstacles everywhere but where the car stands, as `batch` knows the target."""
    assert policy.caution is not None and policy.caution.memory is not None
    remembered = policy.caution.memory
    memory = torch.zeros(1, policy.memory_size)
    side = remembered.side
    target = batch["observation.state"][:, policy._target]
    x, y = remembered._in_car(target)  # [1, S, S]
    memory[:, : side**2] = ((x - 1.4).abs().maximum(y.abs()) > 3.2).float().flatten(1)
    memory[:, side**2 : 2 * side**2], memory[:, -3:] = 1e3, target
    return memory


def test_the_guard_looks_at_what_is_remembered() -> None:
    policy = remembering()
    batch = moving(policy)
    free, _ = policy.decide(batch, torch.zeros(1, policy.memory_size))
    blocked, _ = policy.decide(batch, all_occupied(policy, batch))
    assert not torch.equal(free, blocked)
    assert torch.equal(blocked, blocked[:, :1].expand_as(blocked))


def test_what_is_remembered_lasts_until_the_episode_ends() -> None:
    policy = remembering()
    batch = moving(policy)
    free = policy.select_action(batch)
    policy._memory = all_occupied(policy, batch)
    policy._queue.clear()
    assert not torch.equal(policy.select_action(batch), free)
    policy.reset()
    assert torch.equal(policy.select_action(batch), free)


def test_a_decision_without_a_memory_is_one_with_nothing_before_it() -> None:
    policy = remembering()
    batch = moving(policy)
    expected, handed_on = policy.decide(batch, torch.zeros(1, policy.memory_size))
    assert torch.equal(policy.predict_action_chunk(batch), expected)
    assert handed_on.shape == (1, policy.memory_size) and handed_on.abs().sum() > 0.0


def test_a_policy_that_does_not_remember_hands_on_nothing() -> None:
    policy = tiny_policy(guard=GUARD)
    assert policy.memory_size == 0
    _, handed_on = policy.decide(moving(policy), torch.zeros(1, 0))
    assert handed_on.shape == (1, 0)


def test_a_policy_is_loaded_with_its_memory(tmp_path: Path) -> None:
    policy = remembering()
    policy.save(tmp_path)
    assert load_policy(tmp_path).memory_size == policy.memory_size > 0


@pytest.mark.parametrize("changes", [{}, {"guard": GUARD, "sees": "label"}])
def test_a_memory_that_nobody_looks_at_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"memory.enabled=true needs guard.enabled=true"):
        tiny_policy(memory=MapMemoryConfig(enabled=True), **changes)
