"""Guard, memory and way out together, as a parking policy has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parking_batches import random_observation, tiny_policy
from torch import Tensor

from helmsight.policies.modules.cost_to_go import CostToGoConfig
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.modules.way_out import WayOutConfig
from helmsight.policies.parking import ParkingPolicy

GUARD, MEMORY = CourseGuardConfig(enabled=True), MapMemoryConfig(enabled=True)
COARSE = CostToGoConfig(half_extent=7.2, cell=0.6, headings=16, iterations=14)
WAY_OUT = WayOutConfig(enabled=True, after=3, costs=COARSE)


def seeing_nothing(**changes: object) -> ParkingPolicy:
    """A policy whose eyes see nothing but free ground, and that waits."""
    policy = tiny_policy(guard=GUARD, memory=MEMORY, way_out=WAY_OUT, **changes)
    assert policy.semantic_head is not None and policy.semantic_head.bias is not None
    with torch.no_grad():
        policy.semantic_head.weight.zero_()
        policy.semantic_head.bias.view(3, 64)[1] = -9.0
        policy.chunk_read_out[2].weight.zero_()
        policy.chunk_read_out[2].bias.copy_(torch.tensor([-0.5, 0.0, -1.0]))
    return policy


def standing(policy: ParkingPolicy, x: float = 5.0) -> dict[str, Tensor]:
    """A car that stands, with its target at (x, 1) in its frame."""
    state = np.zeros(8, np.float32)
    state[5:8] = (x, 1.0, 0.2)
    return policy.to_batch({**random_observation(policy.embodiment), "observation.state": state})


def decided(policy: ParkingPolicy, count: int, x: float = 5.0) -> list[Tensor]:
    batch, chunks = standing(policy, x), []
    memory = policy.blank_memory(batch)
    for _ in range(count):
        chunk, memory = policy.decide(batch, memory)
        chunks.append(chunk)
    return chunks


def test_a_car_that_stands_for_long_is_led_out() -> None:
    chunks = decided(seeing_nothing(), WAY_OUT.after + 2)
    for chunk in chunks[1 : WAY_OUT.after]:
        torch.testing.assert_close(chunk, chunks[0])
    led = chunks[-1]
    assert not torch.equal(led, chunks[0])
    assert torch.equal(led, led[:, :1].expand_as(led))


def test_without_a_way_out_it_stands_for_ever() -> None:
    policy = seeing_nothing()
    size = policy.memory_size
    policy.stay_where_stuck()
    assert policy.memory_size < size
    chunks = decided(policy, WAY_OUT.after + 2)
    torch.testing.assert_close(chunks[-1], chunks[0])


def test_another_episode_begins_with_patience() -> None:
    policy = seeing_nothing()
    first, elsewhere = standing(policy), standing(policy, x=-3.0)
    waiting, memory = policy.decide(first, policy.blank_memory(first))
    for _ in range(WAY_OUT.after + 2):
        led, memory = policy.decide(first, memory)
    assert not torch.equal(led, waiting)
    moved, _ = policy.decide(elsewhere, memory)
    torch.testing.assert_close(moved, policy.decide(elsewhere, policy.blank_memory(first))[0])


def test_what_is_handed_on_has_one_size() -> None:
    policy = seeing_nothing()
    batch = standing(policy)
    memory = policy.blank_memory(batch)
    assert policy.memory_size == memory.shape[1]
    for _ in range(WAY_OUT.after + 2):
        _, memory = policy.decide(batch, memory)
        assert memory.shape == (1, policy.memory_size) and memory.isfinite().all()


def test_a_way_out_without_a_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"way_out.enabled=true needs memory.enabled=true"):
        tiny_policy(guard=GUARD, way_out=WAY_OUT)
