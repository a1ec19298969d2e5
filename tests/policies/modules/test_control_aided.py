from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from helmsight.policies.modules import control_aided
from helmsight.policies.modules.action_heads import ParallelDecoder
from helmsight.policies.modules.control_aided import (
    SIGNALS,
    ActionOutputs,
    ControlAidedAttention,
    ControlAidedAttentionConfig,
    Gated,
    NoAttention,
    ReleasedAttention,
    RemovalAttention,
    build_attention,
    sensitivity_distribution,
    signal_gradient,
)

BATCH, TOKENS, WIDTH, ACTIONS, BINS = 3, 5, 8, 4, 7
DISTRIBUTED = ("task_loss", "expected_action", "jacobian", "removal")
seeds = st.integers(0, 2**31 - 1)


class TokenDecoder(nn.Module):
    """Logits f(F) + c(F) for each action token; c is one number a sample, the same for all bins."""

    def __init__(self, seed: int, constant: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.constant = constant
        self.mix = torch.randn(TOKENS, ACTIONS, generator=generator, dtype=torch.double)
        self.weight = nn.Parameter(
            torch.randn(WIDTH, BINS, generator=generator, dtype=torch.double)
        )
        self.values = torch.linspace(-1.0, 1.0, BINS, dtype=torch.double)

    def forward(self, tokens: Tensor) -> ActionOutputs:
        logits = torch.einsum("bnd,na,dk->bak", torch.tanh(tokens), self.mix, self.weight)
        if self.constant:
            logits = logits + tokens.pow(3).sum(dim=(1, 2))[:, None, None]
        actions = logits.softmax(dim=2) @ self.values
        loss = -functional.log_softmax(logits, dim=2)[..., 0].mean(dim=1)
        return ActionOutputs(actions, logits, loss)


class SlotDecoder(nn.Module):
    """The real parallel decoder, small."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.decoder = ParallelDecoder(WIDTH, heads=2, layers=1, slots=ACTIONS)
        self.read_out = nn.Linear(WIDTH, 1)

    def forward(self, tokens: Tensor) -> ActionOutputs:
        context = tokens.new_zeros(len(tokens), WIDTH)
        actions = self.read_out(self.decoder(tokens, context)).squeeze(2)
        return ActionOutputs(actions, actions, actions.square().mean(dim=1))


def random_tokens(seed: int, batch: int = BATCH, dtype: torch.dtype = torch.double) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, TOKENS, WIDTH, generator=generator, dtype=dtype)


def gradient(signal: str, tokens: Tensor, decoder: nn.Module, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return signal_gradient(signal, tokens, decoder, generator)


def attention_of(signal: str, **changes: bool) -> nn.Module:
    torch.manual_seed(1)
    attention = build_attention(ControlAidedAttentionConfig(signal, **changes), WIDTH, TOKENS)
    assert isinstance(attention, nn.Module)
    return attention


@pytest.mark.parametrize("signal", DISTRIBUTED)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_all_logits_changes_no_target(signal: str, seed: int) -> None:
    tokens = random_tokens(seed)
    plain = sensitivity_distribution(gradient(signal, tokens, TokenDecoder(seed, False)))
    shifted = sensitivity_distribution(gradient(signal, tokens, TokenDecoder(seed, True)))
    torch.testing.assert_close(plain, shifted, rtol=1e-6, atol=1e-9)


def test_a_constant_added_to_all_logits_changes_the_mean_logit() -> None:
    tokens = random_tokens(0)
    plain, shifted = TokenDecoder(0, False), TokenDecoder(0, True)
    torch.testing.assert_close(plain(tokens).actions, shifted(tokens).actions)
    similarity = functional.cosine_similarity(
        gradient("mean_logit", tokens, plain).flatten(1),
        gradient("mean_logit", tokens, shifted).flatten(1),
    )
    assert similarity.max() < 0.9


def test_the_mean_over_probes_is_the_squared_norm_of_the_exact_jacobian() -> None:
    decoder, draws = SlotDecoder(), 20_000
    tokens = random_tokens(3, batch=1, dtype=torch.float)
    jacobian = torch.autograd.functional.jacobian(lambda leaf: decoder(leaf).actions, tokens)
    exact = jacobian[0, :, 0].square().sum(dim=(0, 2))  # [A, N, D] -> [N]
    # Each sample of a batch has a probe of its own: one call draws them all.
    found = gradient("jacobian", tokens.expand(draws, -1, -1), decoder)
    mean = found.square().sum(dim=2).mean(dim=0)
    torch.testing.assert_close(mean, exact, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("signal", ("mean_logit", "task_loss", "expected_action"))
def test_one_pass_for_the_batch_gives_the_gradients_of_one_pass_a_sample(signal: str) -> None:
    tokens, decoder = random_tokens(4), TokenDecoder(4, True)
    together = gradient(signal, tokens, decoder)
    alone = torch.cat([gradient(signal, sample[None], decoder) for sample in tokens])
    torch.testing.assert_close(together, alone)


def test_one_pass_for_the_batch_gives_the_probes_products_of_one_pass_a_sample() -> None:
    tokens, decoder = random_tokens(5, dtype=torch.float), SlotDecoder()
    together = gradient("jacobian", tokens, decoder, seed=9)
    probes = torch.randn(BATCH, ACTIONS, generator=torch.Generator().manual_seed(9))
    for sample, probe, found in zip(tokens, probes, together, strict=True):
        _, product = torch.autograd.functional.vjp(
            lambda leaf: decoder(leaf).actions, sample[None], probe[None]
        )
        torch.testing.assert_close(found, product[0])


@pytest.mark.parametrize("signal", SIGNALS[1:])
def test_a_target_costs_one_decoding_and_one_backward_pass(
    signal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = {"forward": 0, "backward": 0}
    decoder = TokenDecoder(0, False)
    original = control_aided.token_gradient

    def backward(scalar: Tensor, tokens: Tensor) -> Tensor:
        passes["backward"] += 1
        return original(scalar, tokens)

    def decode(leaf: Tensor) -> ActionOutputs:
        passes["forward"] += 1
        return decoder(leaf)

    monkeypatch.setattr(control_aided, "token_gradient", backward)
    signal_gradient(signal, random_tokens(0), decode)
    assert passes == {"forward": 1, "backward": 1}


@pytest.mark.parametrize("signal", SIGNALS[1:])
def test_computing_a_target_leaves_every_gradient_as_it_is(signal: str) -> None:
    decoder, attention = SlotDecoder(), attention_of(signal)
    parameters = [*decoder.parameters(), *attention.parameters()]
    for index, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, float(index))
    tokens = random_tokens(6, dtype=torch.float).requires_grad_(True)
    target = attention.target(tokens, decoder)
    assert not target.requires_grad
    assert tokens.grad is None
    for index, parameter in enumerate(parameters):
        assert parameter.grad is not None
        assert bool((parameter.grad == float(index)).all())


@pytest.mark.parametrize("signal", SIGNALS[1:])
def test_a_target_can_be_computed_without_gradients_around_it(signal: str) -> None:
    tokens, decoder = random_tokens(6, dtype=torch.float), SlotDecoder()
    attention = attention_of(signal)
    with torch.no_grad():
        inside = attention.target(tokens, decoder, torch.Generator().manual_seed(0))
    outside = attention.target(tokens, decoder, torch.Generator().manual_seed(0))
    torch.testing.assert_close(inside, outside)


@pytest.mark.parametrize("residual", (False, True))
@pytest.mark.parametrize("signal", ("jacobian", "removal", "mean_logit"))
def test_detached_attention_gets_no_gradient_from_the_task(signal: str, residual: bool) -> None:
    attention = attention_of(signal, detached=True, residual=residual)
    tokens = random_tokens(7, dtype=torch.float).requires_grad_(True)
    attention(tokens).tokens.square().sum().backward()
    assert all(parameter.grad is None for parameter in attention.parameters())
    assert tokens.grad is not None and bool((tokens.grad != 0.0).any())


@pytest.mark.parametrize("signal", ("jacobian", "removal", "mean_logit"))
def test_joint_attention_gets_a_gradient_from_the_task(signal: str) -> None:
    attention = attention_of(signal, detached=False)
    attention(random_tokens(7, dtype=torch.float)).tokens.square().sum().backward()
    first = next(p for name, p in attention.named_parameters() if p.ndim == 2)
    assert first.grad is not None and bool((first.grad != 0.0).any())


@pytest.mark.parametrize("signal", ("jacobian", "removal", "mean_logit"))
@pytest.mark.parametrize("detached", (False, True))
def test_the_attention_loss_trains_the_attention(signal: str, detached: bool) -> None:
    attention, decoder = attention_of(signal, detached=detached), SlotDecoder()
    tokens = random_tokens(8, dtype=torch.float)
    target = attention.target(tokens, decoder, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(attention.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = attention.loss(attention(tokens), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@given(seed=seeds, sharpness=st.floats(0.25, 3.0), exponent=st.integers(-25, 15))
@settings(max_examples=50, deadline=None)
def test_targets_are_distributions_whatever_the_gradients_scale(
    seed: int, sharpness: float, exponent: int
) -> None:
    found = random_tokens(seed, dtype=torch.float)
    target = sensitivity_distribution(found, sharpness)
    assert bool((target >= 0.0).all())
    torch.testing.assert_close(target.sum(dim=1), torch.ones(BATCH))
    scaled = sensitivity_distribution(found * 10.0**exponent, sharpness)
    torch.testing.assert_close(scaled, target, rtol=1e-3, atol=1e-6)


def test_a_target_is_proportional_to_the_squared_gradient_of_each_token() -> None:
    found = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [0.0, 5.0], [5.0, 5.0]]])
    expected = torch.tensor([[0.25, 0.0, 0.25, 0.5]])
    torch.testing.assert_close(sensitivity_distribution(found), expected)


def test_without_any_gradient_the_target_is_uniform() -> None:
    target = sensitivity_distribution(torch.zeros(2, 4, 3))
    torch.testing.assert_close(target, torch.full((2, 4), 0.25))


@given(seed=seeds, peak=st.floats(0.0, 200.0))
@settings(max_examples=40, deadline=None)
def test_the_gate_lies_between_zero_and_two(seed: int, peak: float) -> None:
    attention = attention_of("jacobian")
    assert isinstance(attention, ControlAidedAttention)
    with torch.no_grad():
        for parameter in attention.score[-1].parameters():
            parameter.mul_(peak)
    tokens = random_tokens(seed, dtype=torch.float)
    gated = attention(tokens)
    gate = (gated.tokens * tokens).sum(dim=2) / tokens.square().sum(dim=2)
    assert gate.min().item() >= 0.0
    assert gate.max().item() <= 2.0 + 1e-5
    torch.testing.assert_close(gated.attention.sum(dim=1), torch.ones(BATCH))
    order, gates = gated.attention.sort(dim=1).indices, gate
    assert bool((gates.gather(1, order).diff(dim=1) >= -1e-5).all())


@pytest.mark.parametrize(("residual", "factor"), ((False, 1.0), (True, 2.0)))
def test_uniform_attention_leaves_the_scale_of_the_tokens(residual: bool, factor: float) -> None:
    attention = attention_of("jacobian", residual=residual)
    assert isinstance(attention, ControlAidedAttention)
    torch.nn.init.zeros_(attention.score[-1].weight)
    tokens = random_tokens(2, dtype=torch.float)
    torch.testing.assert_close(attention(tokens).tokens, factor * tokens)


def test_the_loss_is_zero_exactly_where_the_attention_is_its_target() -> None:
    attention = attention_of("jacobian")
    target = torch.tensor([[0.1, 0.2, 0.7]])
    here = Gated(torch.zeros(1, 3, WIDTH), target, target.log() + 5.0)
    elsewhere = Gated(torch.zeros(1, 3, WIDTH), target, torch.zeros(1, 3))
    assert attention.loss(here, target).item() == pytest.approx(0.0, abs=1e-6)
    assert attention.loss(elsewhere, target).item() > 0.1


def removal_attention() -> RemovalAttention:
    attention = attention_of("removal")
    assert isinstance(attention, RemovalAttention)
    return attention.eval()


def test_the_mean_removal_target_is_the_squared_first_order_change_of_the_actions() -> None:
    attention, decoder, draws = removal_attention(), SlotDecoder(), 20_000
    attention.usual.copy_(random_tokens(11, batch=1, dtype=torch.float)[0])
    tokens = random_tokens(3, batch=1, dtype=torch.float)

    def actions(leaf: Tensor) -> Tensor:
        return decoder(attention(leaf).tokens).actions

    attention.config = dataclasses.replace(attention.config, detached=False)
    jacobian = torch.autograd.functional.jacobian(actions, tokens)[0, :, 0]  # [A, N, D]
    exact = (jacobian * (tokens[0] - attention.usual)).sum(dim=2).square().sum(dim=0)  # [N]
    generator = torch.Generator().manual_seed(0)
    gradient = signal_gradient(
        "removal",
        tokens.expand(draws, -1, -1),
        lambda leaf: decoder(attention(leaf).tokens),
        generator,
    )
    found = (gradient * (tokens - attention.usual)).sum(dim=2).square().mean(dim=0)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=1e-7)


def test_a_usual_token_gets_no_attention_from_its_target() -> None:
    attention, decoder = removal_attention(), SlotDecoder()
    tokens = random_tokens(3, dtype=torch.float)
    attention.usual.copy_(tokens[0])
    target = attention.target(tokens, decoder, torch.Generator().manual_seed(0))
    torch.testing.assert_close(target[0], torch.full((TOKENS,), 1.0 / TOKENS))  # nothing to say
    attention.usual[0] += 1.0
    target = attention.target(tokens, decoder, torch.Generator().manual_seed(0))
    torch.testing.assert_close(target[0], torch.eye(TOKENS)[0])


def test_usual_tokens_follow_the_mean_of_what_is_trained_on_and_of_nothing_else() -> None:
    attention, decoder = removal_attention(), SlotDecoder()
    tokens = random_tokens(3, batch=64, dtype=torch.float) + 2.0
    attention.target(tokens, decoder)
    assert not attention.usual.any()
    attention.train()
    for part in tokens.chunk(4):
        attention.target(part, decoder)
    torch.testing.assert_close(attention.usual, tokens.mean(dim=0))


def test_no_attention_leaves_tokens_unchanged_and_has_no_parameters() -> None:
    attention = attention_of("none")
    assert isinstance(attention, NoAttention)
    tokens = random_tokens(2)
    gated = attention(tokens)
    assert gated.tokens is tokens
    assert not list(attention.parameters())
    assert attention.loss(gated, gated.attention).item() == 0.0


def test_the_released_recipe_gates_by_a_product_and_matches_the_raw_gradient() -> None:
    attention, decoder = attention_of("mean_logit"), TokenDecoder(0, True)
    assert isinstance(attention, ReleasedAttention)
    tokens = random_tokens(2)
    attention.double()
    gated = attention(tokens)
    torch.testing.assert_close(gated.tokens, tokens * gated.raw)
    target = attention.target(tokens, decoder)
    torch.testing.assert_close(target, gradient("mean_logit", tokens, decoder))
    torch.testing.assert_close(attention.loss(gated, target), (gated.raw - target).square().mean())


@pytest.mark.parametrize(
    ("changes", "named"), (({"signal": "jacobain"}, "jacobain"), ({"sharpness": 0.0}, "sharpness"))
)
def test_a_wrong_option_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ControlAidedAttentionConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("residual", (False, True))
@pytest.mark.parametrize("signal", ("mean_logit", "jacobian"))
def test_an_even_attention_scales_all_tokens_of_a_moment_alike(signal: str, residual: bool) -> None:
    attention = attention_of(signal, residual=residual)
    tokens = torch.randn(2, TOKENS, WIDTH)
    factor = attention.even(tokens) / tokens
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-4)
    gates = attention(tokens).tokens / tokens
    assert not torch.allclose(gates, gates[:, :1].expand_as(gates), atol=1e-4)
