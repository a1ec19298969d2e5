import math

import numpy as np
import pytest
import torch
from analytical_policy import SIZE, positive_policy, positive_tokens
from hypothesis import given
from hypothesis import strategies as st

from helmsight.eval.explain.faithfulness import (
    action_distance,
    curve_area,
    deletion_insertion,
    masking_influence,
    rank_correlation,
)
from helmsight.eval.explain.maps import MapMaker

POLICY, TOKENS = positive_policy(), positive_tokens(3)
USUAL = torch.full((SIZE**2, 3), -0.2)
MAKER = MapMaker(POLICY, USUAL)
STATE = POLICY.tokens({"tokens": TOKENS})
ACTIONS = MAKER.action_function(STATE)


def test_masking_a_linear_policy_moves_it_by_each_tokens_contribution():
    exact = POLICY.contributions(TOKENS, USUAL).square().mean(dim=2).sqrt()
    assert torch.allclose(masking_influence(ACTIONS, TOKENS, USUAL), exact, atol=1e-5)


def test_the_exact_influence_correlates_perfectly_with_masking():
    exact = POLICY.contributions(TOKENS, USUAL).norm(dim=2)
    influence = masking_influence(ACTIONS, TOKENS, USUAL)
    assert rank_correlation(exact, influence) == pytest.approx([1.0] * 3)
    assert rank_correlation(-exact, influence) == pytest.approx([-1.0] * 3)


def test_the_true_order_deletes_fastest_and_inserts_fastest():
    importance = masking_influence(ACTIONS, TOKENS, USUAL)
    areas = {}
    for name, values in (
        ("true", importance),
        ("random", torch.rand(importance.shape, generator=torch.Generator().manual_seed(5))),
        ("reversed", -importance),
    ):
        curves = deletion_insertion(ACTIONS, TOKENS, USUAL, values, 16)
        areas[name] = (curve_area(curves.deletion), curve_area(curves.insertion))
    assert (areas["true"][0] > areas["random"][0]).all()
    assert (areas["random"][0] > areas["reversed"][0]).all()
    assert (areas["true"][1] < areas["random"][1]).all()
    assert (areas["random"][1] < areas["reversed"][1]).all()


def test_curves_begin_and_end_at_the_decision_and_at_the_usual_tokens():
    deletion, insertion = deletion_insertion(ACTIONS, TOKENS, USUAL, TOKENS[:, :, 0], 5)
    far = action_distance(ACTIONS(USUAL.expand_as(TOKENS)), ACTIONS(TOKENS))
    # Some processors sum a batch in another order than one: float32's rounding is no distance.
    assert float(deletion[:, 0].abs().max()) < 1e-5 and float(insertion[:, -1].abs().max()) < 1e-5
    assert float(far.min()) > 1e-2
    assert torch.allclose(deletion[:, -1], far) and torch.allclose(insertion[:, 0], far)


def test_the_area_of_a_straight_line_is_its_mean():
    assert float(curve_area(torch.linspace(0.0, 1.0, 9)[None])) == pytest.approx(0.5)


def test_equal_values_share_their_rank():
    first, second = torch.tensor([[1.0, 1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    # ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    assert rank_correlation(first, second)[0] == pytest.approx(4.5 / math.sqrt(22.5))


def test_a_constant_map_has_no_rank_correlation():
    assert np.isnan(rank_correlation(torch.ones(1, 4), torch.rand(1, 4)))[0]


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=12, unique=True))
def test_rank_correlation_knows_order_alone(values):
    first = torch.tensor([values], dtype=torch.float64)
    assert rank_correlation(first, first**3 + 5.0)[0] == pytest.approx(1.0)
