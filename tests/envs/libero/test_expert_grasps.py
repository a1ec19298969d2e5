"""Geometry of the expert's hand and grips; nothing here needs the benchmark."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helmsight.envs.libero.expert.grasps import (
    Grasp,
    GraspScene,
    Rim,
    bar_grasp,
    cost,
    distinct,
    ranked,
    rim_grasps,
    top_grasps,
)
from helmsight.envs.libero.expert.hand import (
    MAX_OPENING,
    HandPose,
    downward,
    from_axes,
    points_in_hand,
    rotation_angle,
    rotation_matrix,
    rotation_vector,
)
from helmsight.envs.libero.expert.scene import box_points

BASE = np.array([-0.6, 0.0, 0.0])
ANGLES = st.floats(-math.pi, math.pi)
VECTORS = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(np.array)
NOTHING = np.zeros((0, 3))


def yawed(angle):
    return rotation_matrix(np.array([0.0, 0.0, angle]))


def box(half, yaw=0.0, center=(0.0, 0.0, 0.0)):
    return box_points(np.array(half)) @ yawed(yaw).T + np.array(center)


def shell(radius, height, thickness=0.004):
    """Points of an upright open vessel with a bottom."""
    azimuths = np.linspace(0.0, 2.0 * math.pi, 120, endpoint=False)
    levels = np.arange(0.0, height + 1e-9, 0.004)
    rings = [
        np.stack([r * np.cos(azimuths), r * np.sin(azimuths), np.full(120, z)], axis=1)
        for z in levels
        for r in (radius - thickness, radius)
    ]
    return np.concatenate(rings)


@given(ANGLES, st.floats(-1.0, 1.0))
def test_a_downward_hand_is_a_rotation_that_opens_along_y_at_yaw_0(yaw, lean):
    rotation = downward(yaw, lean)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 2] == pytest.approx(-math.cos(lean))
    assert np.allclose(downward()[:, 0], [0.0, 1.0, 0.0])


@given(VECTORS, VECTORS)
@example(np.array([1.01953125, 0.0, 0.5]), np.array([-2.1015625, 0.0, 0.0]))  # nearly half a turn
def test_a_rotation_vector_turns_its_start_into_its_end(first, second):
    start, end = rotation_matrix(first), rotation_matrix(second)
    turned = rotation_matrix(rotation_vector(start, end)) @ start
    assert np.allclose(turned, end, atol=1e-5)


@given(ANGLES)
def test_a_half_turn_has_a_rotation_vector_too(azimuth):
    axis = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    end = rotation_matrix(math.pi * axis)
    assert np.allclose(rotation_matrix(rotation_vector(np.eye(3), end)), end, atol=1e-6)


def test_fingers_cannot_open_along_the_approach():
    with pytest.raises(ValueError, match="along the approach"):
        from_axes(np.array([0.0, 0.0, 2.0]), np.array([0.0, 0.0, -1.0]))


@given(ANGLES)
def test_swapping_the_fingers_turns_half_about_the_approach_and_twice_is_nothing(yaw):
    pose = HandPose(np.zeros(3), downward(yaw))
    assert np.allclose(pose.other_way().approach, pose.approach)
    assert rotation_angle(pose.rotation, pose.other_way().rotation) == pytest.approx(math.pi)
    assert np.allclose(pose.other_way().other_way().rotation, pose.rotation)
    assert rotation_angle(pose.nearest_way(downward()).rotation, downward()) <= math.pi / 2 + 1e-6


@given(VECTORS, ANGLES, VECTORS)
def test_a_point_has_its_coordinates_along_the_hands_axes(position, yaw, local):
    pose = HandPose(position, downward(yaw, 0.4))
    point = position + pose.rotation @ local
    assert np.allclose(pose.to_hand(point[None])[0], local, atol=1e-9)


@given(st.floats(0.012, 0.031), st.floats(0.045, 0.07), st.floats(0.03, 0.07), ANGLES, VECTORS)
@settings(max_examples=40, deadline=None)
def test_a_box_is_gripped_across_its_narrow_side_without_touching_it(
    narrow, wide, height, yaw, center
):
    points = box((narrow, wide, height), yaw, center)
    grasps = top_grasps(points)
    assert grasps
    for grasp in grasps:
        assert 2.0 * narrow - 1e-6 <= grasp.width <= MAX_OPENING
        assert points_in_hand(grasp.pose, points) == 0
        aside, along, _ = yawed(yaw).T @ (grasp.pose.position - center)
        assert abs(aside) < 0.01 and abs(along) <= wide - 0.009
        assert abs(along) < 0.01 or grasp.drawback > 0.0
        across = abs(grasp.pose.rotation[:, 0] @ yawed(yaw)[:, 0])
        assert across > math.cos(math.radians(7.0))


def test_a_box_that_is_too_wide_for_the_fingers_has_no_grip_from_above():
    assert top_grasps(box((0.05, 0.05, 0.03))) == []


@given(st.floats(0.004, 0.05))
def test_the_finger_tips_stay_off_what_a_flat_thing_stands_on(half_height):
    for grasp in top_grasps(box((0.02, 0.04, half_height))):
        assert grasp.pose.position[2] - 0.010 >= -half_height + 0.0019


@given(st.floats(0.03, 0.07), st.floats(0.03, 0.1), st.floats(0.008, 0.02))
@settings(max_examples=25, deadline=None)
def test_a_vessel_is_gripped_by_its_wall_all_round(radius, height, depth):
    grasps = rim_grasps(shell(radius, height), Rim(depth))
    assert len(grasps) == 48
    for grasp in grasps:
        position, fingers = grasp.pose.position, grasp.pose.rotation[:, 0]
        outward = np.array([*position[:2], 0.0]) / np.linalg.norm(position[:2])
        assert radius - 0.004 <= np.linalg.norm(position[:2]) <= radius
        assert abs(fingers @ outward) > 0.8
        # The hand's back never leans over the vessel.
        assert -grasp.pose.approach @ outward >= -1e-9


def test_a_vessel_is_not_gripped_by_its_handle():
    handle = box((0.015, 0.006, 0.03), 0.0, (0.065, 0.0, 0.05))
    grasps = rim_grasps(np.concatenate([shell(0.045, 0.08), handle]), Rim(0.014))
    azimuths = [math.atan2(*grasp.pose.position[1::-1]) for grasp in grasps]
    assert grasps
    assert min(map(abs, azimuths)) > math.radians(10.0)


@given(ANGLES, ANGLES)
def test_a_bar_is_gripped_across_from_the_side_asked_for(along, around):
    bar = np.array([math.cos(along), math.sin(along), 0.0])
    across = np.array([-bar[1], bar[0], 0.0])
    approach = math.cos(around) * across + math.sin(around) * np.array([0.0, 0.0, 1.0])
    grasp = bar_grasp(np.zeros(3), bar, approach, 0.004)
    assert np.allclose(grasp.pose.approach, approach, atol=1e-9)
    assert abs(grasp.pose.rotation[:, 0] @ bar) < 1e-9
    assert np.allclose(grasp.pose.position, 0.004 * approach)


def test_a_grip_that_would_touch_something_ranks_behind_one_that_would_not():
    points = box((0.02, 0.02, 0.05))
    beside = box((0.01, 0.02, 0.05), 0.0, (0.05, 0.0, 0.0))
    best = ranked(top_grasps(points), GraspScene(beside, BASE, downward()))[0]
    assert points_in_hand(best.pose, beside) == 0
    free = GraspScene(NOTHING, BASE, downward())
    assert cost(best, free) <= cost(best, GraspScene(beside, BASE, downward()))


def test_a_long_thing_is_gripped_off_its_middle_where_the_palm_would_meet_something_tall():
    points = box((0.021, 0.04, 0.009), 0.0, (0.0, 0.0, 0.009))
    free = ranked(top_grasps(points), GraspScene(NOTHING, BASE, downward()))[0]
    assert np.linalg.norm(free.pose.position[:2]) < 1e-6
    can = box((0.033, 0.033, 0.04), 0.0, (0.1, 0.07, 0.04))
    best = ranked(top_grasps(points), GraspScene(can, BASE, downward()))[0]
    assert points_in_hand(free.pose, can) > 0 == points_in_hand(best.pose, can)
    assert best.pose.position[1] < -0.01


def test_a_can_is_gripped_in_its_middle_alone():
    assert all(grasp.drawback == 0.0 for grasp in top_grasps(box((0.033, 0.035, 0.04))))


def test_a_far_grip_costs_more_than_a_near_one():
    near, far = (Grasp(HandPose(np.array([x, 0.0, 0.0]), downward()), 0.0) for x in (0.0, 0.3))
    scene = GraspScene(NOTHING, BASE, downward())
    assert cost(far, scene) > cost(near, scene)


def test_after_a_miss_comes_a_grip_that_differs():
    grasps = ranked(top_grasps(box((0.02, 0.02, 0.05))), GraspScene(NOTHING, BASE, downward()))
    tried = list(distinct([*grasps, *grasps]))
    for index, grasp in enumerate(tried):
        for other in tried[:index]:
            away = np.linalg.norm(grasp.pose.position - other.pose.position)
            assert away > 0.012 or rotation_angle(grasp.pose.rotation, other.pose.rotation) > 0.25


@given(st.tuples(*[st.floats(0.001, 0.2)] * 3))
def test_points_of_a_box_lie_on_its_surface_and_include_its_corners(half):
    half = np.array(half)
    points = box_points(half)
    assert np.allclose((np.abs(points) / half).max(axis=1), 1.0)
    assert np.allclose(points.max(axis=0), half)
    assert np.isclose(np.abs(points), half).all(axis=1).sum() == 8
