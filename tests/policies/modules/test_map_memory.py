"""What was seen stays where it stands while the car moves, and is forgotten where it should be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.modules.birds_eye import Grid
from helmsight.policies.modules.map_memory import (
    Body,
    MapMemory,
    MapMemoryConfig,
    cells_in_sight,
    cells_near,
)

SIZE, EXTENT = 64, 10.0
CAMERAS = parking_embodiment("surround4", 32).cameras
BODY, PICTURE = Body(3.75, 0.95, 1.95), Grid(SIZE, EXTENT)
BOX_HALF = 0.8


def memory_of(**config: float) -> MapMemory:
    return MapMemory(MapMemoryConfig(enabled=True, **config), CAMERAS, BODY, PICTURE)


def blind_memory() -> MapMemory:
    return MapMemory(MapMemoryConfig(enabled=True), [], BODY, PICTURE)


def target_seen_from(car: tuple[float, float, float]) -> Tensor:
    """The target [1, 3] in the frame of a car whose pose (x, y, yaw) is in the target's frame."""
    x, y, yaw = car
    cos, sin = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[-(cos * x + sin * y), sin * x - cos * y, -yaw]])


def picture_of_box(car: tuple[float, float, float], box: tuple[float, float]) -> Tensor:
    """[1, 64, 64] with a round thing at `box` of the target's frame, seen from the car."""
    x, y, yaw = car
    dx, dy = box[0] - x, box[1] - y
    ahead, left = math.cos(yaw) * dx + math.sin(yaw) * dy, math.cos(yaw) * dy - math.sin(yaw) * dx
    cells = torch.tensor(Grid(SIZE, EXTENT).centers(), dtype=torch.float32)
    near = torch.hypot(cells[:, 0] - ahead, cells[:, 1] - left) < BOX_HALF
    return near.float().view(1, SIZE, SIZE)


def cell_at(ahead: float, left: float) -> tuple[int, int]:
    step = 2.0 * EXTENT / SIZE
    return int((EXTENT - ahead) / step), int((EXTENT - left) / step)


def test_a_memory_that_knows_nothing_gives_the_picture_back() -> None:
    memory = memory_of()
    picture = picture_of_box((0.0, 0.0, 0.0), (6.0, 1.0))
    remembered = memory(picture, torch.tensor([[3.0, 2.0, 0.4]]), torch.zeros(1, memory.size))
    assert remembered.memory.shape == (1, memory.size)
    assert (remembered.occupied - picture).abs().mean() < 0.01
    row, column = cell_at(6.0, 1.0)
    assert remembered.occupied[0, row, column] > 0.95


def test_four_cameras_leave_blind_sectors_at_the_corners_of_the_car() -> None:
    sight = cells_in_sight(CAMERAS, PICTURE)
    assert sight[cell_at(8.0, 0.0)] and sight[cell_at(0.0, 8.0)]
    assert not sight[cell_at(0.5, 0.0)]  # under the car
    assert 0.03 < 1.0 - sight.mean() < 0.4


def test_what_is_near_is_counted_from_the_body() -> None:
    near = cells_near(BODY, PICTURE, 1.0)
    for place, expected in (
        ((0.0, 0.0), True),
        ((4.6, 0.0), True),
        ((5.0, 0.0), False),
        ((-1.7, 0.0), True),
        ((-2.3, 0.0), False),
        ((1.0, 1.8), True),
        ((1.0, -2.3), False),
    ):
        assert bool(near[cell_at(*place)]) == expected, place


def test_an_empty_picture_right_beside_the_car_says_nothing() -> None:
    """Eyes see a box worst where it stands at the bumper: what they said before is kept."""
    memory = memory_of(near=1.0)
    then, now = (0.0, 0.0, 0.0), (2.0, 0.0, 0.0)
    box = (6.0, 0.0)  # first 2.25 m ahead of the bumper, then 0.25 m
    kept = torch.zeros(1, memory.size)
    kept = memory(picture_of_box(then, box), target_seen_from(then), kept).memory
    for _ in range(10):
        shown, kept, _ = memory(torch.zeros(1, SIZE, SIZE), target_seen_from(now), kept)
    assert shown[0][cell_at(4.0, 0.0)] > 0.8


@settings(max_examples=15, deadline=None)
@given(
    x=st.floats(-2.0, 2.0),
    y=st.floats(-2.0, 2.0),
    yaw=st.floats(-0.5, 0.5),
    dx=st.floats(-1.0, 1.0),
)
def test_what_leaves_the_sight_stays_where_it_stands(
    x: float, y: float, yaw: float, dx: float
) -> None:
    memory = memory_of()
    box = (x + 7.0 * math.cos(yaw), y + 7.0 * math.sin(yaw))  # ahead of the car
    car, then = (x, y, yaw), (x + dx, y + 0.5, yaw + 0.3)
    first = memory(picture_of_box(car, box), target_seen_from(car), torch.zeros(1, memory.size))
    blind = blind_memory()  # sees nothing any more
    nothing = torch.zeros(1, SIZE, SIZE)
    later = blind(nothing, target_seen_from(then), first.memory).occupied
    expected = picture_of_box(then, box)
    # Two changes of grid blur an edge by a cell on either side.
    inside = -torch.nn.functional.max_pool2d(-expected, 3, 1, 1) > 0.5
    assert inside.any() and later[inside].min() > 0.8
    far_off = torch.nn.functional.max_pool2d(expected, 5, 1, 2) < 0.5
    assert later[far_off].max() < 0.5


def test_what_is_seen_to_be_free_often_enough_is_free() -> None:
    memory = memory_of(newest=0.2)
    target, kept = torch.tensor([[2.0, 1.0, 0.0]]), torch.zeros(1, memory.size)
    there = cell_at(6.0, 1.0)
    kept = memory(picture_of_box((0.0, 0.0, 0.0), (6.0, 1.0)), target, kept).memory
    nothing, seen = torch.zeros(1, SIZE, SIZE), []
    for _ in range(12):
        shown, kept, _ = memory(nothing, target, kept)
        seen.append(float(shown[0][there]))
    assert seen[0] == pytest.approx(0.5, abs=0.05)  # one of two pictures
    assert seen == sorted(seen, reverse=True) and seen[-1] < 0.1


def test_a_target_that_jumps_begins_anew() -> None:
    memory = memory_of()
    first = memory(
        picture_of_box((0.0, 0.0, 0.0), (6.0, 1.0)),
        torch.tensor([[0.0, 0.0, 0.0]]),
        torch.zeros(1, memory.size),
    )
    blind = blind_memory()
    nothing = torch.zeros(1, SIZE, SIZE)
    for pose, kept in (((0.5, 0.0, 0.0), True), ((4.0, 0.0, 0.0), False), ((0, 0, 1.0), False)):
        later = blind(nothing, torch.tensor([pose], dtype=torch.float32), first.memory)
        assert bool(later.occupied.max() > 0.8) == kept, pose


def test_a_heading_that_passes_half_a_turn_is_no_jump() -> None:
    blind = blind_memory()
    memory = memory_of()
    picture = picture_of_box((0.0, 0.0, 0.0), (6.0, 1.0))
    kept = memory(picture, torch.tensor([[0.0, 0.0, 3.1]]), torch.zeros(1, memory.size)).memory
    later = blind(torch.zeros(1, SIZE, SIZE), torch.tensor([[0.0, 0.0, -3.1]]), kept)
    assert later.occupied.max() > 0.8


def test_each_of_a_batch_remembers_for_itself() -> None:
    memory = memory_of()
    pictures = torch.cat(
        [picture_of_box((0.0, 0.0, 0.0), box) for box in ((6.0, 1.0), (-5.0, -4.0))]
    )
    targets = torch.tensor([[2.0, 1.0, 0.3], [-3.0, 0.5, 2.0]])
    together = memory(pictures, targets, torch.zeros(2, memory.size))
    for index in range(2):
        one = slice(index, index + 1)
        alone = memory(pictures[one], targets[one], torch.zeros(1, memory.size))
        torch.testing.assert_close(together.occupied[one], alone.occupied)
        torch.testing.assert_close(together.memory[one], alone.memory)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cell": 0.0}, "needs 0 < cell < half_extent"),
        ({"newest": 0.0}, "newest must be above 0 and at most 1, got 0"),
        ({"near": -1.0}, "near must be 0 or more, got -1"),
        ({"newest": 1.5}, "newest must be above 0 and at most 1, got 1.5"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(config: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapMemoryConfig(**config)  # type: ignore[arg-type]
