from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.training.schedule import Budget, LearningRateSchedule


def test_a_budget_of_steps_and_minutes_ends_at_whichever_comes_first() -> None:
    budget = Budget(max_steps=100, max_minutes=1.0)
    assert budget.spent(50, 0.0) == 0.5
    assert budget.spent(50, 45.0) == 0.75
    assert budget.spent(100, 0.0) == budget.spent(0, 61.0) == 1.0


def test_a_budget_of_steps_does_not_look_at_the_clock() -> None:
    assert Budget(max_steps=10).spent(5, 1e9) == 0.5


@pytest.mark.parametrize(("steps", "minutes"), [(None, None), (0, None), (None, 0.0)])
def test_a_run_without_end_or_length_is_refused(steps: int | None, minutes: float | None) -> None:
    with pytest.raises(ValueError, match="max_"):
        Budget(steps, minutes)


def test_the_rate_rises_to_its_peak_over_the_warm_up() -> None:
    schedule = LearningRateSchedule(peak=1.0, warmup_steps=4)
    assert [schedule.at(step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_rate_ends_at_its_final_fraction() -> None:
    assert LearningRateSchedule(peak=2.0, final_fraction=0.1).at(10, 1.0) == pytest.approx(0.2)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_after_the_warm_up_the_rate_never_rises(a: float, b: float, fraction: float) -> None:
    schedule = LearningRateSchedule(peak=1.0, warmup_steps=5, final_fraction=fraction)
    assert schedule.at(5, min(a, b)) >= schedule.at(5, max(a, b)) - 1e-12
