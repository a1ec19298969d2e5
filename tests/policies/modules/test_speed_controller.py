from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.policies.modules.speed_controller import SpeedController

CONTROLLER = SpeedController()
speeds = st.floats(-5.0, 5.0)


def action(
    current: float, target: float, steer: float = 0.0, reverse: float = -1.0
) -> tuple[float, float, float]:
    values = [torch.tensor([value]) for value in (current, target, steer, reverse)]
    pedal, wheel, gear = CONTROLLER.action(*values)[0].tolist()
    return pedal, wheel, gear


def test_a_car_that_is_too_slow_gets_throttle_and_one_too_fast_the_brake() -> None:
    assert action(0.5, 1.0)[0] > 0.0 > action(1.5, 1.0)[0]
    assert action(-0.5, -1.0)[0] > 0.0 > action(-1.5, -1.0)[0]


def test_the_sign_of_the_target_speed_chooses_the_gear() -> None:
    assert action(0.0, 1.0, reverse=1.0)[2] == 0.0
    assert action(0.0, -1.0, reverse=-1.0)[2] == 1.0


def test_near_standstill_the_gears_score_chooses_the_gear() -> None:
    assert action(0.0, 0.08, reverse=1.0)[2] == 1.0
    assert action(0.0, -0.08, reverse=-1.0)[2] == 0.0


@pytest.mark.parametrize(("current", "target"), ((-1.0, 1.0), (1.0, -1.0)))
def test_a_car_rolling_the_wrong_way_is_braked_in_the_gear_of_its_motion(
    current: float, target: float
) -> None:
    pedal, _, gear = action(current, target)
    assert pedal == -1.0
    assert gear == (1.0 if current < 0.0 else 0.0)


@given(current=speeds, target=st.floats(-0.059, 0.059), reverse=st.floats(-1.0, 1.0))
@settings(deadline=None)
def test_a_car_that_is_to_stand_never_gets_throttle(
    current: float, target: float, reverse: float
) -> None:
    assert action(current, target, reverse=reverse)[0] <= 0.0


def test_a_standing_car_is_held_by_the_brake() -> None:
    assert action(0.0, 0.0)[0] == -0.5


@given(current=speeds, target=speeds, steer=st.floats(-3.0, 3.0), reverse=st.floats(-2.0, 2.0))
@settings(deadline=None)
def test_every_action_lies_in_the_embodiments_range(
    current: float, target: float, steer: float, reverse: float
) -> None:
    pedal, wheel, gear = action(current, target, steer, reverse)
    assert -1.0 <= pedal <= 1.0
    assert wheel == pytest.approx(min(max(steer, -1.0), 1.0))
    assert gear in (0.0, 1.0)


@given(current=speeds, target=st.floats(0.1, 3.0))
@settings(deadline=None)
def test_driving_backwards_mirrors_driving_forwards(current: float, target: float) -> None:
    forwards, backwards = action(current, target), action(-current, -target)
    assert forwards[0] == backwards[0]
    assert forwards[2] == 1.0 - backwards[2]
