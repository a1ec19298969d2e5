from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose, Rectangle, wrap_angle

lengths = st.floats(-50.0, 50.0)
angles = st.floats(-math.pi, math.pi)
poses = st.builds(Pose, lengths, lengths, angles)
sizes = st.floats(0.2, 8.0)
rectangles = st.builds(
    Rectangle, st.builds(Pose, st.floats(-4, 4), st.floats(-4, 4), angles), sizes, sizes
)


def assert_same_pose(found: Pose, expected: Pose) -> None:
    assert found[:2] == pytest.approx(expected[:2], abs=1e-9)
    assert abs(wrap_angle(found.yaw - expected.yaw)) < 1e-9


inner_places = st.tuples(st.floats(-0.49, 0.49), st.floats(-0.49, 0.49))


@given(st.floats(-1000.0, 1000.0))
def test_a_wrapped_angle_points_the_same_way(angle: float) -> None:
    wrapped = wrap_angle(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)


def test_half_a_turn_either_way_is_plus_pi() -> None:
    assert wrap_angle(-math.pi) == wrap_angle(math.pi) == math.pi


@given(poses, poses)
def test_relative_undoes_transform(frame: Pose, local: Pose) -> None:
    assert_same_pose(frame.relative(frame.transform(local)), local)


@given(poses, poses, poses)
def test_transforms_join_in_any_order(a: Pose, b: Pose, c: Pose) -> None:
    assert_same_pose(a.transform(b).transform(c), a.transform(b.transform(c)))


def test_forward_and_left_are_x_and_y() -> None:
    car = Pose(1.0, 2.0, math.pi / 2)
    assert_same_pose(car.transform(Pose(3.0, 1.0, 0.0)), Pose(0.0, 5.0, math.pi / 2))
    assert_same_pose(car.relative(Pose(0.0, 5.0, math.pi)), Pose(3.0, 1.0, math.pi / 2))


def test_corners_run_anticlockwise_from_the_front_left() -> None:
    corners = Rectangle(Pose(1.0, 0.0, math.pi / 2), 4.0, 2.0).corners()
    np.testing.assert_allclose(corners, [[0, 2], [0, -2], [2, -2], [2, 2]], atol=1e-12)


@given(rectangles)
def test_corners_span_the_rectangles_area(rectangle: Rectangle) -> None:
    x, y = rectangle.corners().T
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    assert area == pytest.approx(rectangle.length * rectangle.width)


@given(rectangles, rectangles)
def test_overlap_is_mutual(a: Rectangle, b: Rectangle) -> None:
    assert a.overlaps(b) == b.overlaps(a)


@given(rectangles)
def test_a_rectangle_overlaps_itself(rectangle: Rectangle) -> None:
    assert rectangle.overlaps(rectangle)


@given(rectangles, rectangles, inner_places, inner_places)
def test_rectangles_that_share_a_point_overlap(
    a: Rectangle, b: Rectangle, in_a: tuple[float, float], in_b: tuple[float, float]
) -> None:
    shared = a.center.transform(Pose(in_a[0] * a.length, in_a[1] * a.width, 0.0))
    # Move b so that its own inner point lies on the one in a.
    turned = Pose(0.0, 0.0, b.center.yaw)
    inside = turned.transform(Pose(in_b[0] * b.length, in_b[1] * b.width, 0.0))
    center = Pose(shared.x - inside.x, shared.y - inside.y, b.center.yaw)
    assert a.overlaps(b._replace(center=center))


@given(rectangles, angles, st.floats(0.01, 5.0))
def test_rectangles_farther_apart_than_their_radii_do_not_overlap(
    rectangle: Rectangle, direction: float, gap: float
) -> None:
    distance = math.hypot(rectangle.length, rectangle.width) + gap
    x = rectangle.center.x + distance * math.cos(direction)
    y = rectangle.center.y + distance * math.sin(direction)
    other = rectangle._replace(center=Pose(x, y, rectangle.center.yaw + 0.7))
    assert not rectangle.overlaps(other)


@pytest.mark.parametrize(("distance", "overlapping"), ((2.99, True), (3.01, False)))
def test_a_turned_rectangle_overlaps_by_its_edge_and_not_by_its_box(
    distance: float, overlapping: bool
) -> None:
    fixed = Rectangle(Pose(0.0, 0.0, 0.0), 4.0, 2.0)
    turned = Rectangle(Pose(0.0, distance, math.pi / 2), 4.0, 2.0)
    assert fixed.overlaps(turned) == overlapping


def test_a_diamond_beside_a_corner_is_free_though_their_boxes_overlap() -> None:
    square = Rectangle(Pose(0.0, 0.0, 0.0), 2.0, 2.0)
    diamond = Rectangle(Pose(1.9, 1.9, math.pi / 4), 2.0, 2.0)
    assert not square.overlaps(diamond)
    assert square.overlaps(diamond._replace(center=Pose(1.6, 1.6, math.pi / 4)))


def test_rectangles_that_only_touch_do_not_overlap() -> None:
    left = Rectangle(Pose(0.0, 0.0, 0.0), 2.0, 2.0)
    assert not left.overlaps(left._replace(center=Pose(2.0, 0.0, 0.0)))
