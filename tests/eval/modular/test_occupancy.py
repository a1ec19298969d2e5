import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.eval.modular.occupancy import OccupancyConfig, OccupancyGrid

CONFIG = OccupancyConfig()
cars = st.builds(Pose, st.floats(-8.0, 8.0), st.floats(-8.0, 8.0), st.floats(-math.pi, math.pi))
FAR_AWAY = Pose(-15.0, -15.0, 0.0)


def picture(x, y, size=200, side=0.8):
    """Nothing but one square obstacle at a place in the vehicle frame, known for certain."""
    middles = 10.0 - (np.arange(size) + 0.5) * 20.0 / size
    along, across = np.abs(middles - x) < side / 2.0, np.abs(middles - y) < side / 2.0
    return np.outer(along, across).astype(np.float32)


def is_occupied(grid, point):
    """Whether the cell at a place in the target's frame is rather occupied than not."""
    column, row = (int((value + CONFIG.half_extent) / CONFIG.cell) for value in point[:2])
    return bool(grid.occupied(0.5)[row, column])


def after(*pictures):
    grid = OccupancyGrid(CONFIG)
    for probability, car in pictures:
        grid.add(probability, car)
    return grid


@settings(deadline=None)
@given(cars, st.floats(5.0, 9.0), st.floats(-9.0, 9.0), st.sampled_from((64, 200)))
def test_what_is_seen_stands_where_it_is_in_the_target_frame(car, x, y, size):
    grid = after((picture(x, y, size), car))
    occupied = np.argwhere(grid.occupied(0.5))
    middle = (occupied.mean(axis=0)[::-1] + 0.5) * CONFIG.cell - CONFIG.half_extent
    assert middle == pytest.approx(car.transform(Pose(x, y, 0.0))[:2], abs=0.2)
    assert len(occupied) * CONFIG.cell**2 == pytest.approx(0.64, abs=0.5)


def test_what_was_never_seen_is_free():
    grid = OccupancyGrid(CONFIG)
    assert not grid.occupied(0.01).any()
    assert grid.clearances(0.01).clearance_at(Pose(3.0, -2.0, 0.3)) > 2.0


def test_what_is_faint_but_stays_is_no_less_probable_for_being_seen_often():
    here = Pose(0.0, 0.0, 0.0)
    often = after(*[(0.2 * picture(6.0, 2.0), here)] * 50)
    once = after((0.2 * picture(6.0, 2.0), here))
    assert once.occupied(0.15).any()
    assert (often.occupied(0.15) == once.occupied(0.15)).all()
    assert not often.occupied(0.25).any()


def test_a_lower_threshold_never_takes_less_for_occupied():
    random = np.random.default_rng(0)
    grid = after((random.random((64, 64), np.float32), Pose(1.0, 2.0, 0.5)))
    counts = [grid.occupied(threshold).sum() for threshold in (0.1, 0.3, 0.5, 0.8)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_what_left_the_field_of_view_is_remembered():
    grid = after((picture(6.0, 2.0), Pose(0.0, 0.0, 0.0)))
    for _ in range(50):
        grid.add(np.zeros((200, 200), np.float32), FAR_AWAY)
    assert is_occupied(grid, (6.0, 2.0))


def test_a_lasting_contradiction_is_believed():
    here = Pose(0.0, 0.0, 0.0)
    grid = after(*[(picture(6.0, 2.0), here)] * 50)
    assert is_occupied(grid, (6.0, 2.0))
    for _ in range(12):
        grid.add(np.zeros((200, 200), np.float32), here)
    assert not is_occupied(grid, (6.0, 2.0))


def test_one_picture_does_not_outweigh_many():
    here = Pose(0.0, 0.0, 0.0)
    grid = after(*[(picture(6.0, 2.0), here)] * 5)
    grid.add(np.zeros((64, 64), np.float32), here)
    assert is_occupied(grid, (6.0, 2.0))


@given(cars)
def test_the_ground_under_the_car_is_free(car):
    grid = after((np.ones((64, 64), np.float32), car))
    assert not is_occupied(grid, car.transform(Pose(1.0, 0.0, 0.0)))
    assert is_occupied(grid, car.transform(Pose(1.0, 3.0, 0.0)))
    assert -0.3 < grid.clearances(0.5).clearance_at(car) < 0.1


@given(cars)
def test_the_map_around_the_car_is_what_the_car_saw(car):
    seen = picture(5.0, -4.0, 64, side=2.0)
    around = after((seen, car)).around(car, 64)
    assert ((around > 0.5) != (seen > 0.5)).sum() <= 16  # cells on the outline


def test_clearance_falls_off_with_the_distance_to_what_was_seen():
    grid = after((picture(6.0, 0.0, side=1.0), Pose(0.0, 0.0, 0.0)))
    clearances = [grid.clearances(0.5).clearance_at(Pose(x, 0.0, 0.0)) for x in (0.0, 0.5, 1.0)]
    assert clearances == pytest.approx([5.5 - 3.75, 1.25, 0.75], abs=0.15)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cell": 0.0}, "cell < half_extent"),
        ({"newest": 0.0}, "newest must be above 0"),
        ({"newest": 1.5}, "at most 1"),
    ],
)
def test_an_impossible_map_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        OccupancyConfig(**wrong)
