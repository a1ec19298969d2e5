import math
import time

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from helmsight.envs.parking.expert.path import advance, sample_words
from helmsight.envs.parking.expert.reeds_shepp import (
    STEER,
    gear_changes,
    reeds_shepp_distance,
    reeds_shepp_words,
)

coordinates = st.floats(-8.0, 8.0)
angles = st.floats(-math.pi, math.pi)


def words(x, y, yaw):
    return reeds_shepp_words(np.array([x]), np.array([y]), np.array([yaw]))


def distance(x, y, yaw):
    return float(reeds_shepp_distance(np.array([x]), np.array([y]), np.array([yaw]))[0])


@given(coordinates, coordinates, angles)
def test_every_valid_word_ends_at_its_goal(x, y, yaw):
    found = words(x, y, yaw)
    poses = np.zeros((len(STEER), 3))
    for segment in range(STEER.shape[1]):
        poses = advance(poses, STEER[:, segment].astype(float), found.length[:, 0, segment])
    reached = np.isfinite(found.total[:, 0])
    assert reached.any()
    assert np.allclose(poses[reached, :2], (x, y), atol=1e-6)
    assert np.allclose(np.cos(poses[reached, 2] - yaw), 1.0, atol=1e-9)


@given(coordinates, coordinates, angles)
@example(0.0, 3.98401024497742e-09, 0.0)
@example(0.0, -3.98401024497742e-09, 0.0)
def test_a_path_is_never_shorter_than_the_straight_line_nor_than_its_turn(x, y, yaw):
    length = distance(x, y, yaw)
    assert length >= math.hypot(x, y) - 1e-9
    assert length >= abs(yaw) - 1e-9


@given(coordinates, coordinates, angles)
def test_the_way_back_is_as_long_as_the_way_there(x, y, yaw):
    back_x = -(math.cos(yaw) * x + math.sin(yaw) * y)
    back_y = math.sin(yaw) * x - math.cos(yaw) * y
    assert math.isclose(distance(x, y, yaw), distance(back_x, back_y, -yaw), abs_tol=1e-5)


@given(coordinates, coordinates, angles)
def test_length_does_not_change_under_time_flip_and_reflection(x, y, yaw):
    length = distance(x, y, yaw)
    assert math.isclose(length, distance(-x, y, -yaw), abs_tol=1e-5)
    assert math.isclose(length, distance(x, -y, -yaw), abs_tol=1e-5)


@given(coordinates, coordinates, angles, coordinates, coordinates, angles)
def test_a_detour_over_another_pose_is_never_shorter(x, y, yaw, via_x, via_y, via_yaw):
    cos, sin = math.cos(via_yaw), math.sin(via_yaw)
    dx, dy = x - via_x, y - via_y
    onwards = distance(cos * dx + sin * dy, cos * dy - sin * dx, yaw - via_yaw)
    assert distance(x, y, yaw) <= distance(via_x, via_y, via_yaw) + onwards + 1e-5


@given(coordinates, coordinates, angles)
def test_the_shortest_path_is_continuous_and_keeps_to_the_turning_radius(x, y, yaw):
    found = words(x, y, yaw)
    best = int(found.total[:, 0].argmin())
    samples = sample_words(
        np.zeros((1, 3)), STEER[best : best + 1].astype(float), found.length[best], 0.05
    )[0]
    steps = np.hypot(*np.diff(samples[:, :2], axis=0).T)
    turns = np.abs(np.diff(samples[:, 2]))
    spacing = found.total[best, 0] / (len(samples) - 1)
    assert (steps <= spacing + 1e-9).all()
    assert (turns <= spacing + 1e-9).all()


def test_known_shortest_paths():
    assert math.isclose(distance(5.0, 0.0, 0.0), 5.0)
    assert math.isclose(distance(-5.0, 0.0, 0.0), 5.0)
    assert math.isclose(distance(1.0, 1.0, math.pi / 2.0), math.pi / 2.0)
    # Turning on the spot: three cusped arcs of 60 degrees each.
    assert math.isclose(distance(0.0, 0.0, math.pi), math.pi, rel_tol=1e-6)
    assert distance(0.0, 0.0, 0.0) < 1e-6


def test_each_kind_of_word_is_the_shortest_somewhere():
    random = np.random.default_rng(0)
    x, y = random.uniform(-5.0, 5.0, (2, 20_000))
    yaw = random.uniform(-math.pi, math.pi, 20_000)
    winners = reeds_shepp_words(x, y, yaw).total.argmin(axis=0)
    assert set(winners // 4) == set(range(len(STEER) // 4))


def test_gear_changes_count_both_ends_and_skip_empty_segments():
    length = np.array([[1.0, 0.0, 2.0, -1.0, 0.0], [1.0, -1.0, 1.0, 0.0, 0.0], np.zeros(5)])
    assert gear_changes(length, 0.0, 0.0).tolist() == [1, 2, 0]
    assert gear_changes(length, -1.0, -1.0).tolist() == [2, 4, 0]
    assert gear_changes(length, 1.0, -1.0).tolist() == [1, 3, 1]


def test_all_words_of_one_query_cost_less_than_a_millisecond():
    query = (np.array([3.0]), np.array([-1.0]), np.array([1.0]))
    durations = []
    for _ in range(30):
        begin = time.perf_counter()
        reeds_shepp_words(*query)
        durations.append(time.perf_counter() - begin)
    assert min(durations) < 1e-3
