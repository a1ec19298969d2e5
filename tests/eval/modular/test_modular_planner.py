import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import GridClearance
from helmsight.eval.modular.planner import ModularPlanner, PlannerConfig

CELL, REACH = 0.1, 20.0
IN_THE_AISLE = Pose(7.0, 6.0, 1.5708)


def field(*boxes):
    """Clearances about boxes (x from, x to, y from, y to) in the target's frame."""
    size = round(2.0 * REACH / CELL)
    free = np.ones((size, size), np.uint8)
    for x0, x1, y0, y1 in boxes:
        columns, rows = (
            slice(*(round((v + REACH) / CELL) for v in r)) for r in ((x0, x1), (y0, y1))
        )
        free[rows, columns] = 0
    return GridClearance(free, np.full(2, -REACH), CELL)


def car_beside(y):
    """A neighbour whose nearer flank is at y, on the left or the right of the slot."""
    return (-1.0, 3.7, *((y, y + 1.9) if y > 0.0 else (y - 1.9, y)))


def planner(direction=-1, **changes):
    return ModularPlanner(PlannerConfig(**changes), direction)


@pytest.mark.parametrize("direction", [1, -1])
def test_the_goal_of_a_slot_with_room_is_its_middle(direction):
    assert planner(direction).goal(field(car_beside(1.6), car_beside(-1.6))) == (0.0, 0.0, 0.0)
    assert planner(direction).goal(field()) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_goal_moves_away_from_a_neighbour_that_intrudes(side):
    goal = planner().goal(field(car_beside(side * 1.1)))
    assert -0.4 <= side * goal.y <= -0.1
    assert goal.x == pytest.approx(0.0, abs=0.05)


def test_between_two_intruders_the_goal_is_in_the_middle():
    goal = planner().goal(field(car_beside(1.05), car_beside(-1.25)))
    assert goal.y == pytest.approx(-0.1, abs=0.06)


def test_the_goal_keeps_from_a_kerb_behind_it():
    behind = (-2.0, -1.05, -3.0, 3.0)
    assert planner().goal(field(behind)).x == pytest.approx(0.2, abs=0.01)


def test_the_goal_does_not_move_farther_than_allowed():
    goal = planner(max_lateral_shift=0.2).goal(field(car_beside(0.6)))
    assert goal.y == pytest.approx(-0.2)


def test_a_goal_is_regretted_once_a_neighbour_turns_up_beside_it():
    middle = planner().goal(field())
    assert planner().regret(field(), middle) == 0.0
    assert planner().regret(field(car_beside(1.1)), middle) > 0.2


@pytest.mark.parametrize("direction", [1, -1])
def test_a_plan_ends_in_the_goal_in_the_gear_of_the_entry(direction):
    obstacles = field(car_beside(1.6), car_beside(-1.6))
    start = IN_THE_AISLE if direction < 0 else Pose(-7.0, 6.0, 1.5708)
    plan = planner(direction).plan(obstacles, start, 0)
    assert plan is not None
    assert plan.goal.relative(plan.path.end) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert plan.path.legs()[-1].direction == direction


def test_a_plan_keeps_its_margin_from_what_was_seen():
    obstacles = field(car_beside(1.6), car_beside(-1.6), (4.5, 5.1, 1.0, 1.6))
    plan = planner().plan(obstacles, IN_THE_AISLE, 0)
    assert plan is not None
    assert obstacles.clearance(plan.path.samples(0.2)).min() > plan.margin - 0.05


def test_less_margin_is_tried_where_a_plan_with_more_is_not_found():
    # A gate in the aisle that leaves 0.1 m beside the car on both sides.
    gate = [(-20.0, 5.9, 4.0, 4.5), (8.1, 20.0, 4.0, 4.5)]
    start = Pose(7.0, 9.0, -1.5708)
    wide, narrow = planner(margins=(0.3,), expansions=(400,)), planner()
    assert wide.plan(field(*gate), start, 0) is None
    plan = narrow.plan(field(*gate), start, 0)
    assert plan is not None
    assert plan.margin < 0.2


def test_a_slot_behind_a_wall_has_no_plan():
    wall = (4.2, 4.6, -20.0, 20.0)
    assert planner(margins=(0.1,), expansions=(300,)).plan(field(wall), IN_THE_AISLE, 0) is None


def test_every_margin_needs_its_expansions():
    with pytest.raises(ValueError, match="as many expansions as margins"):
        PlannerConfig(margins=(0.2, 0.1), expansions=(100,))
