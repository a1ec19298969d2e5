from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helmsight.policies.modules.course_guard import CourseGuard, CourseGuardConfig, Situation

GUARD = CourseGuard(CourseGuardConfig(enabled=True), 3.75, 0.95, 1.95, 10.0)
FORWARD, REVERSE = 0.0, 1.0


def world(*blocks: tuple[float, float, float, float]) -> Tensor:
    """Occupied [1, 200, 200] where blocks (x from, x to, y from, y to) stand, in metres."""
    occupied = torch.zeros(1, 200, 200)
    for x_from, x_to, y_from, y_to in blocks:
        rows = slice(round((10.0 - x_to) * 10), round((10.0 - x_from) * 10))
        columns = slice(round((10.0 - y_to) * 10), round((10.0 - y_from) * 10))
        occupied[:, rows, columns] = 1.0
    return occupied


def situation(
    occupied: Tensor,
    speed: float = 1.0,
    steering: float = 0.0,
    travel: float = 1.2,
    distance: float = 8.0,
) -> Situation:
    values = (torch.tensor([value]) for value in (speed, steering, travel, distance))
    return Situation(occupied, *values)


def guarded(action: tuple[float, float, float], seen: Situation) -> list[float]:
    return GUARD(torch.tensor([action]), seen)[0].tolist()


actions = st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32), st.sampled_from((0, 1)))
speeds = st.floats(-1.5, 1.5, width=32).filter(lambda speed: abs(speed) > 0.06)
angles = st.floats(-0.5, 0.5, width=32)


@settings(deadline=None, max_examples=30)
@given(actions, speeds, angles)
def test_where_nothing_stands_nothing_is_changed(action, speed, angle) -> None:
    assert guarded(action, situation(world(), speed, angle)) == pytest.approx(action)


@settings(deadline=None, max_examples=30)
@given(
    actions,
    st.floats(-1.5, 1.5, width=32),
    angles,
    st.lists(st.tuples(st.integers(-9, 8), st.integers(-9, 8)), max_size=5),
)
def test_what_it_gives_is_always_an_action(action, speed, angle, corners) -> None:
    blocks = world(*((x, x + 1.0, y, y + 1.0) for x, y in corners))
    acceleration, steer, reverse = guarded(action, situation(blocks, speed, angle))
    assert -1.0 <= acceleration <= 1.0 and -1.0 <= steer <= 1.0 and reverse in (0.0, 1.0)


def test_a_box_at_the_corner_is_driven_round() -> None:
    box_on_the_left = world((4.7, 5.3, 0.85, 1.45))
    acceleration, steer, reverse = guarded((0.4, 0.0, FORWARD), situation(box_on_the_left))
    assert steer < -0.1 and reverse == FORWARD and 0.0 < acceleration < 0.31


@pytest.mark.parametrize("measured", [-0.2, -0.08, 0.0, 0.08, 0.2])
def test_a_parked_car_that_brakes_stays_whatever_its_noisy_speed_says(measured: float) -> None:
    slot = world((-1.4, -1.0, -2.0, 2.0), (-1.0, 4.0, 1.1, 2.0), (-1.0, 4.0, -2.0, -1.1))
    braking = (-0.4, 0.0, REVERSE)
    parked = situation(slot, measured, travel=0.0, distance=0.3)
    assert guarded(braking, parked) == pytest.approx(braking)


def test_before_a_wall_it_brakes() -> None:
    wall = world((4.2, 5.0, -8.0, 8.0))
    assert guarded((0.4, 0.2, FORWARD), situation(wall))[0] == -1.0


def test_a_wall_behind_stops_the_way_back() -> None:
    wall = world((-2.0, -1.3, -8.0, 8.0))
    acceleration, _, reverse = guarded((0.4, 0.0, REVERSE), situation(wall, speed=-1.0))
    assert acceleration == -1.0 and reverse == REVERSE


def test_standing_before_a_wall_it_backs_off_until_there_is_room() -> None:
    near, far = world((3.9, 5.0, -8.0, 8.0)), world((6.5, 8.0, -8.0, 8.0))
    acceleration, _, reverse = guarded((0.4, 0.0, FORWARD), situation(near, speed=0.0))
    assert acceleration > 0.0 and reverse == REVERSE
    # Under way backwards, it goes on so while the way ahead is blocked, and no longer.
    assert guarded((0.4, 0.0, FORWARD), situation(near, speed=-0.4))[2] == REVERSE
    assert guarded((0.4, 0.0, FORWARD), situation(far, speed=-0.4))[2] == FORWARD


def test_backing_off_turns_the_nose_away_from_what_stands_there() -> None:
    ahead_on_the_left = world((3.9, 5.5, -0.4, 6.0))
    _, steer, reverse = guarded((0.4, 0.0, FORWARD), situation(ahead_on_the_left, speed=0.0))
    assert reverse == REVERSE and steer > 0.0  # backwards, wheels to the left turn the nose right


def test_walled_in_it_stands() -> None:
    walls = world((3.9, 5.0, -8.0, 8.0), (-2.5, -1.1, -8.0, 8.0))
    assert guarded((0.4, 0.0, FORWARD), situation(walls, speed=0.0))[0] == -1.0


def test_what_is_touched_already_does_not_hold_it() -> None:
    touching = world((0.0, 1.0, 0.9, 1.5))
    acceleration, steer, reverse = guarded((0.4, -0.2, FORWARD), situation(touching))
    assert acceleration > 0.0 and abs(steer + 0.2) < 0.1 and reverse == FORWARD


def test_a_policy_that_wants_to_stand_may_stand_before_a_wall() -> None:
    wall = world((3.9, 5.0, -8.0, 8.0))
    at_its_target = situation(wall, speed=0.0, distance=0.1)
    assert guarded((-0.5, 0.0, FORWARD), at_its_target) == pytest.approx((-0.5, 0.0, 0.0))


@pytest.mark.parametrize(
    ("steering", "distance", "goes"), [(0.3, 5.0, True), (0.0, 5.0, False), (0.3, 0.5, False)]
)
def test_a_car_on_its_way_with_its_wheels_turned_sets_off(steering, distance, goes) -> None:
    seen = situation(world(), speed=0.0, steering=steering, distance=distance)
    assert (guarded((-0.2, 0.5, FORWARD), seen)[0] > 0.0) is goes


def test_situations_of_a_batch_do_not_mix() -> None:
    seen = [
        situation(world((4.3, 4.9, 0.6, 1.2))),
        situation(world((4.2, 5.0, -8.0, 8.0)), speed=0.0),
        situation(world(), speed=-0.5, steering=0.3),
    ]
    wanted = torch.tensor([[0.4, 0.0, 0.0], [0.4, 0.1, 0.0], [0.2, -0.5, 1.0]])
    together = GUARD(wanted, Situation(*(torch.cat(part) for part in zip(*seen, strict=True))))
    alone = [GUARD(wanted[index : index + 1], one)[0] for index, one in enumerate(seen)]
    torch.testing.assert_close(together, torch.stack(alone))


WIDENING = CourseGuard(CourseGuardConfig(enabled=True, widen=0.3), 3.75, 0.95, 1.95, 10.0)


def test_a_box_is_given_a_wide_berth_and_a_row_of_cars_is_not() -> None:
    """Both stand 0.2 m beside its way: outside of its margin, within what boxes are widened by."""
    box = world((6.0, 6.6, 1.2, 1.8))
    cars = world((3.0, 9.0, 1.2, 6.0))
    action = torch.tensor([[0.2, 0.0, FORWARD]])
    for occupied, changed in ((box, True), (cars, False)):
        seen = situation(occupied, travel=3.0)
        assert torch.equal(GUARD(action, seen), action)
        assert bool((WIDENING(action, seen) != action).any()) == changed


def test_widening_takes_nothing_away_and_is_the_same_length_on_any_grid() -> None:
    coarse = torch.zeros(1, 64, 64)
    coarse[0, 20:22, 40:42] = 0.8  # 0.6 m
    fine = world((3.0, 3.6, -3.0, -2.4))
    for occupied, cell in ((coarse, 20.0 / 64), (fine, 0.1)):
        widened = WIDENING._widened(occupied)
        assert (widened >= occupied).all()
        side = float((widened > 0.5).sum()) ** 0.5 * cell
        assert side == pytest.approx(1.2, abs=0.11)


def test_widening_is_off_unless_it_is_asked_for() -> None:
    assert CourseGuardConfig().widen == 0.0
    with pytest.raises(ValueError, match=r"widen must be 0 to 1 m, got -0.1"):
        CourseGuardConfig(widen=-0.1)
