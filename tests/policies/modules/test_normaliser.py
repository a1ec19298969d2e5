from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.parking.vehicle import ACTION
from helmsight.policies.modules.normaliser import RangeScaler, Standardiser

SCALER = RangeScaler(ACTION)


@given(st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(0.0, 1.0)))
@settings(deadline=None)
def test_an_action_comes_back_from_its_scaled_form(action: tuple[float, float, float]) -> None:
    values = torch.tensor([action])
    scaled = SCALER(values)
    assert scaled.abs().max().item() <= 1.0 + 1e-6
    torch.testing.assert_close(SCALER.inverse(scaled), values, rtol=0.0, atol=1e-6)


def test_the_ends_of_a_range_become_minus_one_and_one() -> None:
    scaled = SCALER(torch.tensor([ACTION.low, ACTION.high]))
    assert scaled.tolist() == [[-1.0] * 3, [1.0] * 3]


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
@settings(deadline=None)
def test_whatever_a_network_says_becomes_an_allowed_action(scaled: list[float]) -> None:
    action = SCALER.inverse(torch.tensor([scaled]))[0].tolist()
    assert all(
        low <= value <= high
        for low, value, high in zip(ACTION.low, action, ACTION.high, strict=True)
    )


def test_standardised_data_have_mean_zero_and_deviation_one() -> None:
    values = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * 3.0 + 5.0
    standardise = Standardiser(values.mean(dim=0).tolist(), values.std(dim=0).tolist())
    torch.testing.assert_close(standardise(values).mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(standardise(values).std(dim=0), torch.ones(2))


def test_a_column_that_never_moves_is_not_blown_up() -> None:
    standardise = Standardiser([2.0], [0.0])
    assert standardise(torch.tensor([[2.0]])).item() == 0.0
    assert standardise(torch.tensor([[2.001]])).item() == pytest.approx(1.0, abs=1e-3)
