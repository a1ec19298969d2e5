import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.eval.explain.motion import (
    cell_centers,
    compare_warped,
    ego_motion,
    total_variation,
    transport_distance,
    warp,
)
from helmsight.policies.modules.birds_eye import Grid

GRID = Grid(8, 10.0)
CELL = 2.5
FINE = Grid(40, 10.0)


def blob(row, column, grid=GRID):
    values = torch.zeros(grid.size, grid.size)
    values[row, column] = 1.0
    return values.flatten()


def at(values, grid=GRID):
    return divmod(int(values.argmax()), grid.size)


def gaussian(x, y, grid):
    centers = cell_centers(grid)
    weights = torch.exp(-((centers - torch.tensor([x, y])).square().sum(dim=1)) / 4.0)
    return weights / weights.sum()


def test_what_lies_ahead_comes_nearer_when_the_car_drives_forward():
    warped = warp(blob(2, 3), Pose(CELL, 0.0, 0.0), GRID)
    assert at(warped.values) == (3, 3)
    assert float(warped.values.max()) == pytest.approx(1.0)


def test_what_lies_left_goes_ahead_when_the_car_turns_left():
    # (row 3, column 0) is at x = 1.25, y = 8.75; after a quarter turn to the left it is at
    # x = 8.75, y = -1.25: row 0, column 4.
    warped = warp(blob(3, 0), Pose(0.0, 0.0, math.pi / 2), GRID)
    assert at(warped.values) == (0, 4)


def test_cells_that_came_into_view_are_unknown():
    known = warp(blob(4, 4), Pose(CELL, 0.0, 0.0), GRID).known.view(8, 8)
    assert not known[0].any() and known[1:].all()


def test_warped_blobs_lie_where_their_centres_move():
    motion = Pose(1.3, -0.4, 0.3)
    before = gaussian(3.0, 2.0, FINE)
    warped = warp(before, motion, FINE).values
    centre = (warped[:, None] * cell_centers(FINE)).sum(dim=0) / warped.sum()
    expected = motion.relative(Pose(3.0, 2.0, 0.0))
    assert centre.tolist() == pytest.approx([expected.x, expected.y], abs=0.03)


def test_a_map_that_stands_still_in_the_world_is_stable():
    start, now = Pose(4.0, -2.0, 1.0), Pose(4.2, -1.8, 1.05)
    place = Pose(6.0, 1.0, 0.0)
    seen = [pose.relative(place) for pose in (start, now)]
    maps = [gaussian(one.x, one.y, FINE) for one in seen]
    compared = compare_warped(*maps, ego_motion(start, now), FINE)
    assert compared.variation < 0.02 < float(total_variation(*maps)) / 3.0
    assert compared.transport < 0.03


def test_a_blob_that_stays_in_its_cell_while_the_car_moves_on_has_gone_along():
    motion = Pose(0.3, 0.1, 0.0)
    along = compare_warped(blob(3, 4), blob(3, 4), motion, GRID).transport
    assert along == pytest.approx(math.hypot(0.3, 0.1), rel=0.4)


def test_on_coarse_cells_what_stands_still_moves_less_than_the_car():
    motion, place = Pose(0.5, 0.0, 0.0), Pose(3.0, 1.0, 0.0)
    seen = motion.relative(place)
    before, now = gaussian(place.x, place.y, GRID), gaussian(seen.x, seen.y, GRID)
    assert compare_warped(before, now, motion, GRID).transport < 0.3
    assert compare_warped(before, now, Pose(0.0, 0.0, 0.0), GRID).transport > 0.4


def test_a_map_that_rides_along_moves_by_the_way_of_the_car():
    values = gaussian(0.0, 0.0, FINE)
    way = compare_warped(values, values, Pose(0.7, 0.0, 0.0), FINE).transport
    assert way == pytest.approx(0.7, abs=0.01)


def test_after_a_leap_nothing_can_be_said():
    values = gaussian(0.0, 0.0, GRID)
    assert math.isnan(compare_warped(values, values, Pose(50.0, 0.0, 0.0), GRID).transport)


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_transport_of_everything_by_one_vector_is_its_length(dx, dy):
    weights = torch.rand(16, generator=torch.Generator().manual_seed(1))
    weights /= weights.sum()
    places = cell_centers(Grid(4, 10.0))
    moved = places + torch.tensor([dx, dy])
    length = transport_distance(weights, places, weights, moved)
    assert length == pytest.approx(math.hypot(dx, dy), rel=0.01, abs=1e-5)


def test_total_variation_is_one_for_maps_apart_and_none_for_equal_ones():
    assert float(total_variation(blob(0, 0), blob(1, 1))) == 1.0
    assert float(total_variation(blob(0, 0), blob(0, 0))) == 0.0
