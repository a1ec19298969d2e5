"""The looks of training and of shifted scenarios share nothing that a policy could memorise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.parking.appearance import (
    DAY,
    SHIFTED,
    WIDE,
    AppearanceRanges,
    sample_appearance,
)
from helmsight.envs.parking.mujoco.ground import MATERIALS
from helmsight.envs.parking.scenario import CAR_COLOURS, SHIFTED_CAR_COLOURS, WIDE_CAR_COLOURS

RANGES = [
    field.name
    for field in dataclasses.fields(AppearanceRanges)
    if field.name not in ("grounds", "line_colours", "haze_colours")
]


trained_in = pytest.mark.parametrize("seen", (DAY, WIDE), ids=("day", "wide"))


@pytest.mark.parametrize("field", [name for name in RANGES if name != "sun_warmth"])
@pytest.mark.parametrize("shifted", SHIFTED, ids=("low sun", "night"))
@trained_in
def test_no_shifted_range_touches_one_that_training_may_see(
    seen: AppearanceRanges, shifted: AppearanceRanges, field: str
) -> None:
    low, high = getattr(seen, field)
    shifted_low, shifted_high = getattr(shifted, field)
    assert shifted_high < low or high < shifted_low


@pytest.mark.parametrize("field", ["grounds", "line_colours", "haze_colours"])
@pytest.mark.parametrize("shifted", SHIFTED, ids=("low sun", "night"))
@trained_in
def test_shifted_choices_are_none_that_training_may_see(
    seen: AppearanceRanges, shifted: AppearanceRanges, field: str
) -> None:
    assert not set(getattr(shifted, field)) & set(getattr(seen, field))


def test_no_shifted_car_has_a_colour_that_training_may_see() -> None:
    assert not set(SHIFTED_CAR_COLOURS) & set(CAR_COLOURS + WIDE_CAR_COLOURS)


@pytest.mark.parametrize("ranges", (DAY, WIDE, *SHIFTED))
def test_every_ground_that_can_be_drawn_can_be_made(ranges: AppearanceRanges) -> None:
    assert set(ranges.grounds) <= set(MATERIALS)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shifted=st.booleans())
def test_equal_seeds_draw_equal_looks_within_their_ranges(seed: int, shifted: bool) -> None:
    first = sample_appearance(np.random.default_rng(seed), shifted)
    second = sample_appearance(np.random.default_rng(seed), shifted)
    assert first == second
    assert any(
        first.ground in ranges.grounds
        and ranges.ambient[0] <= first.ambient <= ranges.ambient[1]
        and ranges.camera_gain[0] <= first.camera_gain <= ranges.camera_gain[1]
        and ranges.haze_distance[0] <= first.haze_distance <= ranges.haze_distance[1]
        for ranges in (SHIFTED if shifted else (DAY,))
    )


def test_colours_are_colours() -> None:
    random = np.random.default_rng(0)
    for index in range(200):
        looks = sample_appearance(random, bool(index % 2))
        for colour in (looks.line_colour, looks.sun_colour, looks.haze_colour):
            assert all(0.0 <= channel <= 1.0 for channel in colour)
