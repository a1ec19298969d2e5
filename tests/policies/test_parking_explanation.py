import dataclasses

import pytest
import torch
from parking_batches import random_batch, tiny_policy

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.explainable import TokenState, as_distribution, jacobian_power
from helmsight.policies.modules.control_aided import ControlAidedAttentionConfig
from helmsight.policies.modules.transformer import Attention

EMBODIMENT = parking_embodiment("surround4", 32)
BATCH = random_batch(EMBODIMENT, 2)
HEADS = ("action_chunk", "target_speed", "control_tokens")


def explained(**changes):
    policy = tiny_policy(**changes)
    explanation = policy.explainable()
    batch = {key: BATCH[key] for key in explanation.observation_keys()}
    with torch.no_grad():
        return policy, explanation, batch, explanation.tokens(batch)


def test_actions_from_tokens_are_those_that_the_policy_takes():
    policy, explanation, batch, state = explained()
    driven = policy.predict_action_chunk(batch)
    with torch.no_grad():
        chunk = explanation.actions(state).unflatten(1, (4, 3))
    assert torch.equal(policy.action_range.inverse(chunk), driven)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_its_raw_attention_and_a_gradient_at_every_token(head):
    _, explanation, batch, state = explained(head=head)
    raw = explanation.raw_attention(batch)
    assert set(raw) == {"self_attention", "cross_attention"}
    for values in raw.values():
        assert values.shape == (2, 64)
        assert torch.allclose(values.sum(dim=1), torch.ones(2), atol=1e-5)
    power = jacobian_power(
        lambda tokens: explanation.actions(TokenState(tokens, state.context)), state.tokens
    )
    assert (power > 0.0).all()


def test_masked_tokens_reach_decoder_and_summary_alike():
    policy, explanation, _, state = explained(signal="none")
    seen = {}
    assert policy.summary is not None
    policy.decoder.register_forward_pre_hook(lambda _, given: seen.update(decoder=given[0]))
    policy.summary.register_forward_pre_hook(lambda _, given: seen.update(summary=given[0]))
    masked = state.tokens.clone()
    masked[:, 5] = 7.0
    with torch.no_grad():
        explanation.actions(TokenState(masked, state.context))
    assert torch.equal(seen["decoder"], masked) and torch.equal(seen["summary"], masked)


def test_the_gradient_passes_through_an_attention_that_is_detached_in_training():
    policy, explanation, _, state = explained()
    assert policy.config.attention.detached

    def total(tokens):
        return explanation.actions(TokenState(tokens, state.context)).sum(dim=1, keepdim=True)

    tokens = state.tokens.double()
    explanation._gate.double(), policy.double()
    state = TokenState(tokens, state.context.double())
    leaf = tokens.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(total(leaf).sum(), leaf)
    step = torch.zeros_like(tokens)
    step[:, 3] = 1e-5
    with torch.no_grad():
        change = (total(tokens + step) - total(tokens - step)).sum() / 2e-5
    assert float(change) == pytest.approx(float(gradient[:, 3].sum()), rel=1e-4)


def test_the_target_is_what_training_approaches_on_average():
    policy, explanation, _, state = explained(signal="jacobian")
    exact = explanation.attention_target(state)

    def ungated(tokens):
        return policy._decode(tokens, state.context).chunk.flatten(1)

    assert exact is not None
    assert torch.allclose(exact, as_distribution(jacobian_power(ungated, state.tokens)), atol=1e-6)


def test_the_target_of_removal_is_the_change_of_the_actions_as_they_are_driven():
    _, explanation, _, state = explained(signal="removal")
    torch.nn.init.normal_(explanation._gate.usual)
    step = 1e-3

    def actions(tokens):
        with torch.no_grad():
            return explanation.actions(TokenState(tokens, state.context))

    removed = []
    for token in range(state.tokens.shape[1]):
        toward = torch.zeros_like(state.tokens)
        toward[:, token] = step * (explanation._gate.usual - state.tokens)[:, token]
        change = (actions(state.tokens + toward) - actions(state.tokens - toward)) / (2.0 * step)
        removed.append(change.square().sum(dim=1))
    expected = as_distribution(torch.stack(removed, dim=1))
    target = explanation.attention_target(state)
    assert target is not None
    assert torch.allclose(target, expected, rtol=0.05, atol=1e-4)


def test_a_policy_without_attention_has_neither_map_nor_target():
    _, explanation, _, state = explained(signal="none")
    assert explanation.attention(state.tokens) is None
    assert explanation.attention_target(state) is None


def test_a_signal_that_needs_the_recorded_action_has_no_target():
    _, explanation, _, state = explained(signal="task_loss")
    assert explanation.attention_target(state) is None
    assert explanation.attention(state.tokens) is not None


def test_a_policy_that_sees_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to explain"):
        tiny_policy(sees="nothing").explainable()


def test_a_policy_that_sees_the_label_has_no_cameras():
    _, explanation, batch, _ = explained(sees="label")
    assert explanation.image_keys() == ()
    assert explanation.in_cameras(batch, torch.rand(2, 3, 64)) is None


def test_maps_in_the_cameras_agree_with_the_diagnostics():
    policy, explanation, batch, state = explained()
    one = {key: value[:1] for key, value in batch.items()}
    policy.predict_action_chunk(one)
    attention = explanation.attention(state.tokens)[:1]
    largest = attention.max()
    found = explanation.in_cameras(one, attention.unsqueeze(1) / largest)
    for camera, key in enumerate(EMBODIMENT.image_keys):
        shown = torch.from_numpy(policy.diagnostics()[f"attention.{key}"])
        assert torch.allclose(found[0, camera, 0], shown, atol=1e-5)


def test_tokens_have_a_gradient_in_images_that_are_given_as_floats():
    _, explanation, batch, state = explained()
    key = EMBODIMENT.image_keys[0]
    leaf = batch[key].float().requires_grad_(True)
    tokens = explanation.tokens({**batch, key: leaf}).tokens
    assert torch.allclose(tokens, state.tokens, atol=1e-5)
    (gradient,) = torch.autograd.grad(tokens.square().sum(), leaf)
    assert float(gradient.abs().max()) > 0.0


def test_explaining_leaves_the_policys_memory_alone():
    policy, explanation, batch, state = explained()
    explanation.actions(state), explanation.raw_attention(batch)
    assert policy.diagnostics() == {} and policy.needs_observation


def test_softmax_weights_are_those_that_the_attention_mixes_with():
    attention = Attention(8, 2)
    queries, context = torch.rand(2, 3, 8), torch.rand(2, 5, 8)
    weights = attention.weights(queries, context)  # [B, H, Q, N]
    value = attention.key_value(context)[..., 8:].view(2, 5, 2, 4).transpose(1, 2)
    mixed = (weights @ value).transpose(1, 2).reshape(2, 3, 8)
    assert torch.allclose(attention.output(mixed), attention(queries, context), atol=1e-5)


def test_sharpness_sharpens_the_target_as_in_training():
    changes = ControlAidedAttentionConfig("jacobian", sharpness=2.0)
    plain = explained(signal="jacobian")[1].attention_target(explained(signal="jacobian")[3])
    policy = tiny_policy("jacobian")
    policy.config = dataclasses.replace(policy.config, attention=changes)
    batch = {key: BATCH[key] for key in policy.observation_keys()}
    explanation = policy.explainable()
    sharp = explanation.attention_target(explanation.tokens(batch))
    assert torch.allclose(sharp, as_distribution(plain.square()), atol=1e-5)


def test_an_even_attention_decides_otherwise_and_no_attention_has_none():
    _, explanation, _, state = explained()
    with torch.no_grad():
        even, trained = explanation.even_actions(state), explanation.actions(state)
    assert even.shape == trained.shape
    assert not torch.equal(even, trained)
    _, without, _, state = explained(signal="none")
    assert without.even_actions(state) is None
