import pytest
import torch

from tests.policies.manipulation_batches import ENTRIES, arm, tiny_batch, tiny_policy


def explained(signal="removal"):
    policy = tiny_policy(signal)
    batch = {**tiny_batch(), "task": ["pick up the milk"] * 3}
    return policy, policy.explainable(), batch


def test_actions_of_the_tokens_are_the_policys_own():
    policy, shown, batch = explained()
    with torch.no_grad():
        actions = shown.actions(shown.tokens(batch))
        chunk = policy.predict_action_chunk(batch)
    assert actions.shape == (3, 2 * ENTRIES)
    assert torch.allclose(policy.action_scale.inverse(actions[:, :ENTRIES]), chunk[:, 0], atol=1e-6)


@pytest.mark.parametrize("signal", ["removal", "jacobian", "expected_action"])
def test_attention_and_its_target_are_distributions_over_the_tokens(signal):
    _, shown, batch = explained(signal)
    state = shown.tokens(batch)
    for found in (shown.attention(state.tokens), shown.attention_target(state)):
        assert found.shape == (3, 8)
        assert torch.allclose(found.sum(dim=1), torch.ones(3), atol=1e-5)
    assert explained("none")[1].attention(state.tokens) is None


def test_the_slots_cross_attention_is_a_distribution_over_the_tokens():
    _, shown, batch = explained()
    given = shown.raw_attention(batch)["cross_attention"]
    assert given.shape == (3, 8)
    assert torch.allclose(given.sum(dim=1), torch.ones(3), atol=1e-5)


def test_a_map_over_tokens_lies_on_the_patches_they_were_gathered_from():
    _, shown, batch = explained()
    maps = torch.zeros(3, 1, 8)
    maps[:, 0, 0] = 1.0  # a token of the first camera
    seen = shown.in_cameras(batch, maps)
    assert seen.shape == (3, 2, 1, 2, 2)
    assert torch.allclose(seen[:, 0].sum(dim=(1, 2, 3)), torch.ones(3), atol=1e-5)
    assert (seen[:, 1] == 0.0).all()


def test_it_says_what_there_is_to_see():
    _, shown, _ = explained()
    assert shown.token_grid is None
    assert shown.image_keys() == arm().image_keys
    assert shown.waypoints(None) is None


def test_an_even_attention_decides_otherwise():
    _, shown, batch = explained()
    state = shown.tokens(batch)
    assert not torch.equal(shown.even_actions(state), shown.actions(state))
    assert explained("none")[1].even_actions(state) is None
