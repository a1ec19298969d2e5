import math

import pytest

from helmsight.envs.parking.expert.goal import MAX_SHIFT, parking_goal, side_clearances
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import EGO


@pytest.mark.parametrize("approach", ["reverse", "forward"])
def test_without_an_intruder_the_goal_is_the_slots_middle(approach):
    for index in range(20):
        scenario = make_scenario("standard", "train", index, approach)
        assert parking_goal(scenario) == pytest.approx(scenario.target)


@pytest.mark.parametrize("approach", ["reverse", "forward"])
def test_an_intruder_pushes_the_goal_aside_so_that_both_sides_stay_free(approach):
    shifted = 0
    for index in range(60):
        scenario = make_scenario("cluttered", "train", index, approach)
        goal = parking_goal(scenario)
        shift = scenario.target.relative(goal)
        left, right = side_clearances(scenario)
        assert abs(shift.y) <= MAX_SHIFT
        assert (shift.x, shift.yaw) == pytest.approx((0.0, 0.0))
        if shift.y != 0.0:
            shifted += 1
            assert (shift.y > 0.0) == (left > right)
        assert min(left - shift.y, right + shift.y) > 0.2
        grown = EGO.footprint(goal, margin=0.1)
        assert not any(grown.overlaps(thing) for thing in scenario.obstacles())
    assert shifted > 10


def test_both_approaches_shift_to_the_same_side_of_the_lot():
    for index in range(20):
        reverse = parking_goal(make_scenario("cluttered", "train", index, "reverse"))
        forward = parking_goal(make_scenario("cluttered", "train", index, "forward"))
        assert math.isclose(reverse.x, forward.x, abs_tol=1e-9)
