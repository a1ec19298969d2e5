import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import ClearanceMap, GridClearance, body_circles
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import EGO

SCENARIO = make_scenario("cluttered", "train", 3)
MAP = ClearanceMap(SCENARIO)
near_the_aisle = st.builds(
    Pose,
    st.floats(SCENARIO.target.x - 5.0, SCENARIO.target.x + 5.0),
    st.floats(-6.0, 6.0),
    st.floats(-math.pi, math.pi),
)


def distance_to_obstacles(pose):
    """Least distance from points along the body's outline to the obstacles' outlines."""

    def outline(rectangle):
        corners = rectangle.corners()
        share = np.linspace(0.0, 1.0, 60)[:, None]
        sides = [a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
        return np.concatenate(sides)

    body = outline(EGO.footprint(pose))
    return min(
        np.hypot(*(body[:, None] - outline(obstacle)[None]).T).min()
        for obstacle in SCENARIO.obstacles()
        if math.hypot(obstacle.center.x - pose.x, obstacle.center.y - pose.y) < 12.0
    )


@settings(deadline=None, max_examples=60)
@given(near_the_aisle)
def test_a_pose_with_clearance_touches_nothing(pose):
    if MAP.clearance_at(pose) > 0.07:
        assert not any(EGO.footprint(pose).overlaps(thing) for thing in SCENARIO.obstacles())


@settings(deadline=None, max_examples=60)
@given(near_the_aisle)
def test_clearance_is_not_above_the_true_distance_to_the_nearest_obstacle(pose):
    assert MAP.clearance_at(pose) <= distance_to_obstacles(pose) + 0.07


@given(st.floats(-EGO.rear, EGO.front), st.sampled_from((-1.0, 1.0)))
def test_circles_cover_the_outline_to_seven_centimetres(along, side):
    centers, radii = body_circles(EGO)
    gaps = np.hypot(*(centers - (along, side * EGO.width / 2.0)).T) - radii
    # Beside the corner itself, between its circle of radius 0 and the round circle inside it.
    assert gaps.min() < 0.12
    if -EGO.rear + 0.4 <= along <= EGO.front - 0.4:
        assert gaps.min() < 0.07


def test_kerbs_behind_the_rows_are_obstacles():
    target = SCENARIO.target
    assert MAP.clearance_at(target.transform(Pose(-0.2, 0.0, 0.0))) > 0.0
    assert MAP.clearance_at(target.transform(Pose(-0.6, 0.0, 0.0))) < 0.0


def test_beyond_the_map_nothing_is_free():
    assert MAP.clearance_at(Pose(500.0, 0.0, 0.0)) < 0.0


def test_many_poses_have_the_clearances_that_each_has_alone():
    poses = np.random.default_rng(1).uniform(-3.0, 3.0, (4, 5, 3))
    clearances = MAP.clearance(poses)
    assert clearances.shape == (4, 5)
    assert clearances[2, 3] == pytest.approx(MAP.clearance_at(Pose(*poses[2, 3])))


def test_clearance_in_a_grid_is_the_distance_from_the_body_to_its_occupied_cells():
    free = np.ones((200, 200), np.uint8)
    free[:, 150:] = 0  # from x = 5 m on
    grid = GridClearance(free, np.array([-10.0, -10.0]), 0.1)
    for x in (-2.0, 0.0, 1.0):
        true = 5.0 - (x + EGO.front)
        assert true - 0.15 <= grid.clearance_at(Pose(x, 0.0, 0.0)) <= true + 0.05
    assert grid.clearance_at(Pose(2.0, 0.0, 0.0)) < 0.0
