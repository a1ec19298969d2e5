import math

import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.cost_to_go import TURNING_RADIUS, cost_to_go
from helmsight.envs.parking.expert.footprint import ClearanceMap
from helmsight.envs.parking.expert.goal import parking_goal
from helmsight.envs.parking.expert.hybrid_astar import Ends, HybridAStar
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import EGO

CASES = [
    (family, approach, index)
    for family in ("standard", "cluttered")
    for approach in ("reverse", "forward")
    for index in range(3)
]


def search(scenario, start=None, direction=0, expansions=2500):
    goal_direction = -1 if scenario.approach == "reverse" else 1
    ends = Ends(start or scenario.start, direction, parking_goal(scenario), goal_direction)
    return HybridAStar(ClearanceMap(scenario), ends, 0.15).plan(expansions)


@pytest.mark.parametrize(("family", "approach", "index"), CASES)
def test_a_plan_leads_from_the_start_into_the_goal_and_touches_nothing(family, approach, index):
    scenario = make_scenario(family, "train", index, approach)
    path = search(scenario)
    assert path is not None
    assert parking_goal(scenario).relative(path.end) == pytest.approx((0, 0, 0), abs=1e-6)
    assert path.legs()[-1].direction == (-1 if approach == "reverse" else 1)
    assert max(abs(arc.curvature) for arc in path.arcs) <= 1.0 / TURNING_RADIUS + 1e-9
    obstacles = scenario.obstacles()
    for pose in path.samples(0.1):
        body = EGO.footprint(Pose(*pose), margin=0.05)
        assert not any(body.overlaps(obstacle) for obstacle in obstacles)


def test_a_plan_ends_with_a_straight_tail():
    arc = search(make_scenario("standard", "train", 0)).arcs[-1]
    assert arc.curvature == 0.0
    assert arc.length <= -2.0 + 1e-9


def test_the_same_problem_gives_the_same_plan():
    scenario = make_scenario("cluttered", "train", 1)
    assert search(scenario).arcs == search(scenario).arcs


def test_a_rolling_car_is_not_asked_to_change_gear_for_nothing():
    scenario = make_scenario("standard", "train", 0)
    forwards, backwards = search(scenario, direction=1), search(scenario, direction=-1)
    cost = {1: forwards.length, -1: backwards.length}
    assert forwards.legs()[0].direction == 1 or cost[1] < cost[-1] + 3.0
    assert backwards.legs()[0].direction == -1 or cost[-1] < cost[1] + 3.0


@pytest.mark.parametrize("approach", ["reverse", "forward"])
@pytest.mark.parametrize(
    "offset",
    [
        Pose(0.6, 0.2, math.radians(4.0)),
        Pose(2.5, -0.15, math.radians(-5.0)),
        Pose(4.0, 0.3, math.radians(30.0)),
        Pose(5.5, -0.8, math.radians(-30.0)),
    ],
)
def test_planning_from_the_middle_of_a_manoeuvre_finds_a_path(approach, offset):
    scenario = make_scenario("standard", "train", 2, approach)
    goal = parking_goal(scenario)
    outwards = 1.0 if approach == "reverse" else -1.0
    start = goal.transform(Pose(outwards * offset.x, offset.y, offset.yaw))
    if ClearanceMap(scenario).clearance_at(start) < 0.0:
        start = goal.transform(Pose(outwards * offset.x, offset.y, -offset.yaw))
    path = search(scenario, start)
    assert path is not None
    assert goal.relative(path.end) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_start_inside_the_margin_may_leave_it():
    scenario = make_scenario("standard", "train", 2)
    clearances = ClearanceMap(scenario)
    goal = parking_goal(scenario)
    offsets = np.linspace(0.0, 1.5, 151)
    beside = [goal.transform(Pose(1.0, float(offset), 0.0)) for offset in offsets]
    start = next(pose for pose in beside if clearances.clearance_at(pose) < 0.08)
    assert clearances.clearance_at(start) > 0.0
    assert search(scenario, start) is not None


def test_a_walled_in_goal_has_no_path():
    scenario = make_scenario("standard", "train", 0)
    outside = Pose(scenario.target.x, -scenario.target.y * 1.4, 0.0)
    assert search(scenario, outside, expansions=400) is None


def test_the_cost_to_go_is_the_same_for_mirrored_poses():
    goal = Pose(2.0, -1.0, 0.7)
    random = np.random.default_rng(2)
    for x, y, yaw in random.uniform((0.5, 0.5, -3.0), (12.0, 12.0, 3.0), (50, 3)):
        images = [(x, y, yaw), (-x, y, -yaw), (x, -y, -yaw), (-x, -y, yaw)]
        poses = np.array([goal.transform(Pose(*image)) for image in images])
        assert np.ptp(cost_to_go(poses, goal)) < 1e-5
    assert cost_to_go(np.array(goal), goal) == pytest.approx(0.0, abs=1e-5)
