"""Policies of other robots than the car behind the server's surface."""

import pytest

from helmsight.deploy.model import ModelError
from helmsight.deploy.torch_model import TorchModel
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
