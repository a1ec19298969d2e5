"""Policies train under autocast to bfloat16, which `precision=bf16` and a GPU that has it use."""

import dataclasses
import itertools

import manipulation_batches as arm
import numpy as np
import parking_batches as parking
import pytest
import torch
from test_motion import network, windows

from helmsight.policies.modules.control_aided import SIGNALS
from helmsight.policies.parking.config import HEADS, SEES


def trains(policy, batch):
    """Whether a step under autocast gives a finite loss and finite gradients of 32 bits."""
    policy.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = policy(batch)
    loss.backward()
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    assert gradients and bool(loss.isfinite())
    return all(g.dtype == torch.float32 and bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize(("signal", "head"), list(itertools.product(SIGNALS, HEADS)))
def test_the_parking_policy_with_every_signal_and_head(signal, head):
    policy = parking.tiny_policy(signal, head=head)
    assert trains(policy, parking.random_batch(policy.embodiment, 2))


@pytest.mark.parametrize("sees", SEES)
def test_the_parking_policy_whatever_it_sees(sees):
    policy = parking.tiny_policy(sees=sees)
    assert trains(policy, parking.random_batch(policy.embodiment, 2))


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_manipulation_policy_with_every_signal(signal):
    assert trains(arm.tiny_policy(signal), arm.tiny_batch())


def test_the_manipulation_policy_that_points():
    vision = dataclasses.replace(arm.VISION, pointing=True)
    policy = arm.tiny_policy(vision=vision, focus=True, other_instruction_share=0.5)
    size = 8
    seen = {
        "simulator.focus": torch.rand(size, 6),
        "simulator.other_focus": torch.rand(size, 12),
        "simulator.other_instruction": torch.tensor([[0, 1]] * size),
    }
    assert trains(policy, arm.tiny_batch(size) | seen)


def test_the_motion_model():
    model = network()
    assert trains(model, windows(model, 4, np.random.default_rng(0)))
