import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import GridClearance
from helmsight.eval.modular.planner import ModularPlanner, PlannerConfig

CELL, REACH = 0.1, 20.0
IN_THE_AISLE = Pose(7.0, 6.0, 1.5708)


class Boxes:
    """A map of boxes (x from, x to, y from, y to) in the target's frame, each with a probability.

    Answers as an `OccupancyGrid` does.
    """

    def __init__(self, *boxes, probability=1.0):
        size = round(2.0 * REACH / CELL)
        self.probability = np.zeros((size, size))
        for x0, x1, y0, y1 in boxes:
            rows, columns = (
                slice(*(round((value + REACH) / CELL) for value in pair))
                for pair in ((y0, y1), (x0, x1))
            )
            self.probability[rows, columns] = probability

    def clearances(self, threshold):
        free = (self.probability < threshold).astype(np.uint8)
        return GridClearance(free, np.full(2, -REACH), CELL)


def field(*boxes):
    """Clearances about boxes."""
    return Boxes(*boxes).clearances(0.5)


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
    start = IN_THE_AISLE if direction < 0 else Pose(-7.0, 6.0, 1.5708)
    plan = planner(direction).plan(Boxes(car_beside(1.6), car_beside(-1.6)), start, 0)
    assert plan is not None
    assert plan.goal.relative(plan.path.end) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert plan.path.legs()[-1].direction == direction


def test_a_plan_keeps_its_margin_from_what_was_seen():
    boxes = (car_beside(1.6), car_beside(-1.6), (4.5, 5.1, 1.0, 1.6))
    plan = planner().plan(Boxes(*boxes), IN_THE_AISLE, 0)
    assert plan is not None
    assert field(*boxes).clearance(plan.path.samples(0.2)).min() > plan.margin - 0.05


def attempts(*rows):
    """A planner with attempts of (threshold, margin), a few nodes each."""
    thresholds, margins = zip(*rows, strict=True)
    return planner(thresholds=thresholds, margins=margins, expansions=(600,) * len(rows))


# A gate in the aisle that leaves little more than 0.1 m beside the car on both sides.
GATE = (
    (-20.0, 5.9, 4.0, 4.5),
    (8.15, 20.0, 4.0, 4.5),
    (2.0, 5.9, 4.0, 12.0),
    (8.15, 20.0, 4.0, 12.0),
)
BEHIND_THE_GATE = Pose(7.0, 9.0, -1.5708)


def test_less_margin_is_tried_where_a_plan_with_more_is_not_found():
    gate = Boxes(*GATE)
    assert attempts((0.5, 0.4)).plan(gate, BEHIND_THE_GATE, 0) is None
    plan = attempts((0.5, 0.4), (0.5, 0.0)).plan(gate, BEHIND_THE_GATE, 0)
    assert plan is not None
    assert plan.margin == 0.0


def test_what_is_only_suspected_is_driven_through_where_there_is_no_way_around():
    wall = (4.2, 4.6, -20.0, 20.0)
    suspected, seen = Boxes(wall, probability=0.3), Boxes(wall, probability=0.9)
    driver = attempts((0.1, 0.1), (0.5, 0.1))
    assert driver.plan(seen, IN_THE_AISLE, 0) is None
    plan = driver.plan(suspected, IN_THE_AISLE, 0)
    assert plan is not None
    assert plan.threshold == 0.5


def test_what_is_only_suspected_is_avoided_where_there_is_a_way_around():
    box = (4.5, 5.1, 1.0, 1.6)
    plan = attempts((0.1, 0.1), (0.5, 0.1)).plan(Boxes(box, probability=0.3), IN_THE_AISLE, 0)
    assert plan is not None
    assert field(box).clearance(plan.path.samples(0.2)).min() > 0.05


def test_a_car_that_stands_in_its_goal_has_nothing_to_drive():
    plan = planner().plan(Boxes(), Pose(0.1, -0.05, 0.02), 0)
    assert plan is not None
    assert plan.path.length == 0.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"margins": (0.2, 0.1)}, "an attempt needs a threshold, a margin"),
        ({"thresholds": (0.0,), "margins": (0.2,), "expansions": (9,)}, "between 0 and 1"),
        ({"thresholds": (0.5,), "margins": (0.2,), "expansions": (0,)}, "1 or more"),
    ],
)
def test_attempts_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        PlannerConfig(**wrong)
