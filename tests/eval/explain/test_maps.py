import pytest
import torch
from analytical_policy import positive_policy, positive_tokens

from helmsight.eval.explain.maps import MapMaker, integrated_gradients, random_maps
from helmsight.policies.explainable import TokenState, as_distribution, jacobian_power

POLICY, TOKENS = positive_policy(), positive_tokens(2)
USUAL = torch.zeros(TOKENS.shape[1:])


def made(*names):
    state = POLICY.tokens({"tokens": TOKENS})
    maker = MapMaker(POLICY, USUAL, integration_steps=8, names=names or ("gradient",))
    return maker.maps({"tokens": TOKENS}, state, torch.Generator().manual_seed(0))


def test_the_gradient_map_of_a_linear_policy_is_the_norm_of_its_weights():
    exact = as_distribution(POLICY.weights.flatten(1).norm(dim=1))
    assert torch.allclose(made("gradient")["gradient"], exact.expand(2, -1), atol=1e-6)


def test_the_jacobians_power_is_the_exact_one_of_a_bent_function():
    mixing = torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(2))

    def bent(tokens):
        return torch.tanh(torch.einsum("bnd,nda->ba", tokens.square(), mixing))

    tokens = torch.rand(1, 5, 4, generator=torch.Generator().manual_seed(3))
    jacobian = torch.autograd.functional.jacobian(bent, tokens)[0, :, 0]  # [A, N, D]
    assert torch.allclose(
        jacobian_power(bent, tokens)[0], jacobian.square().sum(dim=(0, 2)), atol=1e-5
    )


def test_integrated_gradients_of_a_linear_policy_are_its_contributions():
    pytest.importorskip("captum")
    exact = as_distribution(POLICY.contributions(TOKENS, USUAL).norm(dim=2))
    found = made("integrated_gradients")["integrated_gradients"]
    assert torch.allclose(found, exact, atol=1e-5)


def test_integrated_gradients_add_up_to_the_change_of_a_bent_function():
    pytest.importorskip("captum")

    def bent(tokens, context):
        return torch.tanh(POLICY.actions(TokenState(tokens, context)) / 10.0)

    context = torch.zeros(2, 1)
    parts = integrated_gradients(bent, TOKENS, USUAL.expand_as(TOKENS), context, 32)
    whole = bent(TOKENS, context) - bent(USUAL.expand_as(TOKENS), context)
    sums = torch.stack([part.sum(dim=(1, 2)) for part in parts], dim=1)
    assert torch.allclose(sums, whole, atol=1e-4)


def test_every_map_is_a_distribution():
    maps = made("attention", "gradient", "masking", "random")
    assert list(maps) == ["attention", "gradient", "masking", "random"]
    for values in maps.values():
        assert (values >= 0.0).all()
        assert torch.allclose(values.sum(dim=1).double(), torch.ones(2).double(), atol=1e-5)


def test_maps_that_a_policy_does_not_have_are_left_out():
    assert list(made("target", "cross_attention", "gradient")) == ["gradient"]


def test_an_unknown_map_is_refused():
    with pytest.raises(ValueError, match="unknown map 'attentoin'"):
        MapMaker(POLICY, USUAL, names=("attentoin",))


def test_no_strength_at_all_gives_the_uniform_map_and_tiny_ones_keep_their_ratio():
    rows = as_distribution(torch.tensor([[0.0, 0.0], [1e-38, 3e-38]]))
    assert torch.allclose(rows, torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def test_random_maps_follow_their_generator():
    first, again = (random_maps((2, 9), torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
