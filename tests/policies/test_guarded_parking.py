"""The parking policy with a guard that looks where it is about to go."""

from __future__ import annotations

import torch
from parking_batches import random_batch, tiny_policy
from torch import Tensor

from helmsight.policies.modules.course_guard import CourseGuardConfig
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
    assert tiny_policy(sees="nothing", guard=GUARD).guard is None


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
    policy.guard = None
    assert not torch.equal(guarded, policy.predict_action_chunk(batch))
