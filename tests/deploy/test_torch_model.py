"""Policies of other robots than the car behind the server's surface."""

import numpy as np
import pytest

from helmsight.deploy.model import MEMORY_KEY, ModelError, Recollection
from helmsight.deploy.torch_model import TorchModel
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from tests.policies import parking_batches
from tests.policies.manipulation_batches import (
    CHUNK,
    ENTRIES,
    INSTRUCTIONS,
    tiny_observation,
    tiny_policy,
)


def test_each_of_several_arms_is_told_something_else():
    model = TorchModel(tiny_policy())
    model.warm_up()
    observations = [dict(tiny_observation(told)) for told in INSTRUCTIONS]
    together = model.decide(observations)
    assert together.shape == (2, CHUNK, ENTRIES)
    assert abs(together[1] - model.decide(observations[1:])[0]).max() < 1e-5
    assert abs(together[0] - together[1]).max() > 1e-4


def test_an_instruction_that_the_policy_cannot_follow_is_refused_with_its_reason():
    with pytest.raises(ModelError, match="'task' must be a sentence"):
        TorchModel(tiny_policy()).decide([dict(tiny_observation(" "))])


def test_several_cars_are_decided_together_each_by_its_own_memory():
    policy = parking_batches.tiny_policy(
        guard=CourseGuardConfig(enabled=True), memory=MapMemoryConfig(enabled=True)
    )
    model = TorchModel(policy)
    seen = [dict(parking_batches.random_observation(policy.embodiment)) for _ in range(2)]
    seen[1] = {
        key: value[::-1].copy() if value.ndim == 3 else value for key, value in seen[1].items()
    }
    kept = [Recollection(), Recollection()]
    model.decide([{**seen[0], MEMORY_KEY: kept[0]}])  # the first was there before
    alone = [
        model.decide([{**one, MEMORY_KEY: Recollection(memory.values)}])
        for one, memory in zip(seen, kept, strict=True)
    ]
    together = model.decide(
        [{**one, MEMORY_KEY: memory} for one, memory in zip(seen, kept, strict=True)]
    )
    assert abs(together - np.concatenate(alone)).max() < 1e-4
    assert kept[0].values.shape == kept[1].values.shape == (policy.memory_size,)


def test_a_model_that_remembers_does_without_where_nobody_keeps_it():
    policy = parking_batches.tiny_policy(
        guard=CourseGuardConfig(enabled=True), memory=MapMemoryConfig(enabled=True)
    )
    seen = dict(parking_batches.random_observation(policy.embodiment))
    assert TorchModel(policy).decide([seen]).shape == (1, 4, 3)
