"""Semantic labels against the exact geometry that they are drawn from."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import (
    BACKGROUND,
    CELL,
    OBSTACLE,
    RANGE,
    SIZE,
    TARGET_SLOT,
    BirdsEyeLabeller,
    medians,
    slot_area,
)
from helmsight.envs.parking.scenario import Box, make_scenario

SCENARIO = make_scenario("cluttered", "val", 0)


def cell_centres():
    """Vehicle-frame coordinates [200, 200, 2] of the cells' centres."""
    centres = RANGE - (np.arange(SIZE) + 0.5) * CELL
    return np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)


def inside(rectangle, points, margin=0.0):
    cos, sin = math.cos(rectangle.center.yaw), math.sin(rectangle.center.yaw)
    local = (points - (rectangle.center.x, rectangle.center.y)) @ np.array(
        [[cos, -sin], [sin, cos]]
    )
    half = np.array([rectangle.length / 2.0 + margin, rectangle.width / 2.0 + margin])
    return (np.abs(local) <= half).all(axis=-1)


def one_box_scenario(pose):
    box = Box(pose, (0.5, 0.5, 0.5))
    return dataclasses.replace(SCENARIO, cars=(), boxes=(box,))


def test_a_box_ahead_and_to_the_left_is_drawn_up_and_to_the_left():
    scenario = one_box_scenario(Pose(6.0, 3.0, 0.0))
    label = BirdsEyeLabeller(scenario).label(Pose(0.0, 0.0, 0.0))
    label[:, [*range(15), *range(185, SIZE)]] = BACKGROUND  # The medians.
    rows, columns = np.nonzero(label == OBSTACLE)
    assert rows.mean() == pytest.approx((10.0 - 6.0) / CELL - 0.5, abs=0.5)
    assert columns.mean() == pytest.approx((10.0 - 3.0) / CELL - 0.5, abs=0.5)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-12.0, 12.0),
    st.floats(-3.0, 3.0),
    st.floats(-math.pi, math.pi),
    st.integers(0, 30),
)
def test_labels_agree_with_the_exact_rectangles_up_to_a_cell_at_the_edge(x, y, yaw, index):
    scenario = make_scenario("cluttered", "val", index)
    pose = Pose(x, y, yaw)
    label = BirdsEyeLabeller(scenario).label(pose)
    cos, sin = math.cos(yaw), math.sin(yaw)
    points = cell_centres() @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    surely = np.zeros((SIZE, SIZE), bool)
    possibly = np.zeros((SIZE, SIZE), bool)
    for obstacle in [*scenario.obstacles(), *medians(scenario.lot)]:
        surely |= inside(obstacle, points, -CELL)
        possibly |= inside(obstacle, points, CELL)
    target = slot_area(scenario.lot, scenario.target_slot)
    assert (label[surely] == OBSTACLE).all()
    assert possibly[label == OBSTACLE].all()
    assert (label[inside(target, points, -CELL) & ~possibly] == TARGET_SLOT).all()
    assert inside(target, points, CELL)[label == TARGET_SLOT].all()
    assert (label[~possibly & ~inside(target, points, CELL)] == BACKGROUND).all()


def test_an_obstacle_in_the_target_slot_covers_it():
    slot = SCENARIO.target_slot
    scenario = one_box_scenario(Pose(slot.x, slot.y, 0.3))
    label = BirdsEyeLabeller(scenario).label(SCENARIO.target)
    assert label[86, 100] == OBSTACLE
    assert (label == TARGET_SLOT).sum() > 1000
