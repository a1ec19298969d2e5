from __future__ import annotations

import pytest
import torch
from torch import nn

from helmsight.training.ema import ExponentialMovingAverage


def constant(value: float) -> nn.Linear:
    module = nn.Linear(2, 1)
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def test_the_average_moves_by_one_minus_the_decay() -> None:
    module = constant(0.0)
    average = ExponentialMovingAverage(module, 0.9)
    nn.init.constant_(module.weight, 1.0)
    average.update(updates=1000)
    assert average.state_dict()["weight"].tolist() == [[pytest.approx(0.1)] * 2]


def test_the_first_updates_follow_the_weights_fast() -> None:
    module = constant(0.0)
    average = ExponentialMovingAverage(module, 0.9999)
    nn.init.constant_(module.weight, 1.0)
    average.update(updates=0)
    assert average.state_dict()["weight"].tolist() == [[pytest.approx(0.9)] * 2]


def test_buffers_are_copied() -> None:
    module = nn.BatchNorm1d(2)
    average = ExponentialMovingAverage(module, 0.9)
    module(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    average.update(updates=1000)
    assert torch.equal(average.state_dict()["running_mean"], module.running_mean)
    assert average.state_dict()["num_batches_tracked"] == 1


def test_the_module_has_the_average_inside_the_context_and_its_own_weights_after() -> None:
    module = constant(0.0)
    average = ExponentialMovingAverage(module, 0.9)
    nn.init.constant_(module.weight, 1.0)
    with pytest.raises(RuntimeError, match="inside"), average.applied():
        assert not module.weight.any()
        raise RuntimeError("inside")
    assert module.weight.tolist() == [[1.0, 1.0]]


def test_averages_that_do_not_fit_are_named() -> None:
    average = ExponentialMovingAverage(constant(0.0), 0.9)
    with pytest.raises(ValueError, match=r"missing \['bias'\], unexpected \['scale'\]"):
        average.load_state_dict({"weight": torch.zeros(1, 2), "scale": torch.zeros(1)})


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage(constant(0.0), 1.0)
