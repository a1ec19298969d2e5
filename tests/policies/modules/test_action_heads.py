from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helmsight.policies.modules.action_heads import ControlTokenHead, ParallelDecoder

WIDTH, STEPS, ENTRIES = 16, 3, 2
LENGTH = STEPS * ENTRIES


@pytest.fixture(scope="module")
def head() -> ControlTokenHead:
    torch.manual_seed(0)
    return ControlTokenHead(WIDTH, heads=2, layers=2, steps=STEPS, entries=ENTRIES).eval()


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, 5, WIDTH, generator=generator)
    return tokens, torch.randn(batch, WIDTH, generator=generator)


@given(value=st.floats(-1.0, 1.0))
@settings(deadline=None)
def test_an_action_comes_back_from_its_token_within_the_resolution(
    head: ControlTokenHead, value: float
) -> None:
    token = head.to_tokens(torch.full((1, 1, 1), value))
    assert abs(head.values[token].item() - value) <= 0.005 + 1e-6


def test_actions_beyond_the_range_get_the_last_tokens(head: ControlTokenHead) -> None:
    assert head.to_tokens(torch.tensor([[[-1.5, 1.5]]])).tolist() == [[0, 200]]


def test_tokens_follow_each_other_step_by_step(head: ControlTokenHead) -> None:
    actions = torch.tensor([[[-1.0, -0.5], [0.0, 0.5], [1.0, -1.0]]])
    assert head.to_tokens(actions).tolist() == [[0, 50, 100, 150, 200, 0]]


@given(changed=st.integers(0, LENGTH - 1), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_changing_a_target_changes_no_logit_up_to_its_own(
    head: ControlTokenHead, changed: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens, context = inputs()
    targets = torch.randint(0, 201, (2, LENGTH), generator=generator)
    other = targets.clone()
    other[:, changed] = (other[:, changed] + 77) % 201
    before, after = head(tokens, context, targets), head(tokens, context, other)
    torch.testing.assert_close(before[:, : changed + 1], after[:, : changed + 1])
    if changed + 1 < LENGTH:
        assert (before[:, changed + 1] - after[:, changed + 1]).abs().max().item() > 1e-4


def test_decoding_takes_the_best_token_given_those_before(head: ControlTokenHead) -> None:
    tokens, context = inputs()
    decoded = head.decode(tokens, context)
    assert decoded.shape == (2, STEPS, ENTRIES)
    chosen = head.to_tokens(decoded)
    assert torch.equal(head(tokens, context, chosen).argmax(dim=2), chosen)


def test_the_expected_action_is_the_mean_under_the_softmax(head: ControlTokenHead) -> None:
    logits = torch.full((1, 2, 201), -math.inf)
    logits[0, 0, 150] = 0.0
    logits[0, 1, [0, 100]] = torch.tensor([math.log(3.0), 0.0])
    assert head.expected(logits)[0].tolist() == pytest.approx([0.5, -0.75], abs=1e-6)


def test_the_token_loss_is_the_negative_log_likelihood(head: ControlTokenHead) -> None:
    uniform = torch.zeros(2, LENGTH, 201)
    loss = head.loss(uniform, torch.zeros(2, LENGTH, dtype=torch.long))
    torch.testing.assert_close(loss, torch.full((2, LENGTH), math.log(201.0)))


def test_the_parallel_decoder_gives_every_slot_at_once() -> None:
    torch.manual_seed(0)
    decoder = ParallelDecoder(WIDTH, heads=2, layers=2, slots=7)
    slots = decoder(*inputs(batch=3))
    assert slots.shape == (3, 7, WIDTH)
    assert slots.std(dim=1).min().item() > 1e-3  # each query asks for something else


def test_the_parallel_decoder_reads_tokens_in_any_order() -> None:
    torch.manual_seed(0)
    decoder = ParallelDecoder(WIDTH, heads=2, layers=1, slots=4)
    tokens, context = inputs()
    torch.testing.assert_close(
        decoder(tokens, context), decoder(tokens.flip(1), context), rtol=1e-4, atol=1e-5
    )
