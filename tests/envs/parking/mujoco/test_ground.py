"""Ground textures: repeatable materials, lines in their places, light that follows the sun."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.camera_noise import CameraNoise
from helmsight.envs.parking.mujoco.ground import (
    MATERIALS,
    bare_ground,
    paint_lines,
    texture_size,
    to_pixels,
)
from helmsight.envs.parking.mujoco.ground_light import UNITY, light_map
from helmsight.envs.parking.scenario import make_scenario

LOT = Lot()
WHITE = (1.0, 1.0, 1.0)


def painted(wear: float) -> np.ndarray:
    image = np.zeros((*texture_size(LOT), 3), np.uint8)
    paint_lines(image, LOT, WHITE, wear)
    return image


@pytest.mark.parametrize("material", MATERIALS)
def test_every_material_is_made_and_no_two_variants_are_alike(material: str) -> None:
    first = bare_ground(material, 0, 300, 400)
    assert first.shape == (300, 400, 3)
    assert first.std() > 2.0
    assert (first != bare_ground(material, 1, 300, 400)).mean() > 0.5


def test_writing_on_a_ground_does_not_spoil_the_pool() -> None:
    first = bare_ground("asphalt", 0, 100, 100)
    before = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(bare_ground("asphalt", 0, 100, 100), before)


def test_a_lot_larger_than_the_pool_gets_its_ground() -> None:
    assert bare_ground("asphalt", 0, 1200, 1700).shape == (1200, 1700, 3)


def test_an_unknown_material_is_named() -> None:
    with pytest.raises(ValueError, match=r"'lava'.*asphalt"):
        bare_ground("lava", 0, 10, 10)


def test_lines_lie_between_the_slots_and_nowhere_in_them() -> None:
    image = painted(0.0)
    for slot in LOT.slots():
        places = np.array([[slot.x, slot.y], [slot.x + LOT.slot_width / 2.0, slot.y]])
        (middle_x, middle_y), (line_x, line_y) = to_pixels(LOT, places).astype(int)
        assert image[middle_y, middle_x].max() == 0
        assert image[line_y - 20 : line_y + 20, line_x - 1 : line_x + 2].max() > 100


def test_worn_lines_are_fainter() -> None:
    levels = [painted(wear).mean() for wear in (0.0, 0.3, 0.6)]
    assert levels[0] > 1.2 * levels[1] > 1.44 * levels[2] > 0.0


def test_shadows_fall_away_from_the_sun() -> None:
    scenario = make_scenario("standard", "train", 1)
    looks = dataclasses.replace(
        scenario.appearance,
        sun_azimuth=0.0,
        sun_elevation=math.radians(30.0),
        ground_brightness=1.0,
    )
    car = scenario.cars[0]
    lone = dataclasses.replace(scenario, cars=(car,), appearance=looks)
    light = light_map(lone)
    rows, columns = light.shape[:2]

    def at(x: float, y: float) -> float:
        row = int((y + LOT.half_width) / (2 * LOT.half_width) * rows)
        column = int((x + LOT.half_length) / (2 * LOT.half_length) * columns)
        return float(light[row, column].mean())

    # The sun stands at +x, so the car's shadow lies at -x.
    assert at(car.pose.x - 1.4, car.pose.y) < 0.75 * UNITY
    assert at(car.pose.x + 1.6, car.pose.y) == pytest.approx(UNITY, rel=0.02)


def test_lamps_light_the_ground_round_their_posts_at_night() -> None:
    scenario = dataclasses.replace(make_scenario("standard", "train", 1), cars=())
    looks = dataclasses.replace(scenario.appearance, ambient=0.2, lamp_light=1.0)
    day = light_map(scenario).astype(float)
    night = light_map(dataclasses.replace(scenario, appearance=looks)).astype(float)
    assert night.max() > day.max()
    assert night[..., 0].mean() > night[..., 2].mean()


def test_camera_noise_has_its_deviation_and_repeats() -> None:
    grey = np.full((64, 64, 3), 120, np.uint8)
    noise = CameraNoise(3, 5.0)
    first = noise.apply(grey, 1)
    assert first.std() == pytest.approx(5.0, rel=0.05)
    assert first.mean() == pytest.approx(120.0, abs=0.3)
    np.testing.assert_array_equal(first, noise.apply(grey, 1))
    assert (first != noise.apply(grey, 2)).mean() > 0.5


def test_camera_noise_covers_pictures_larger_than_its_bank() -> None:
    grey = np.full((1024, 400, 3), 120, np.uint8)
    assert CameraNoise(3, 5.0).apply(grey, 1).std() == pytest.approx(5.0, rel=0.05)
