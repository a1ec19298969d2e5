"""Light on the ground, baked: what the sun, the sky and the lamps leave of the ground's colour.

The light map is coarser than the texture by far; shadows are soft anyway.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.appearance import Appearance
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.furniture import blocks, post_positions
from helmsight.envs.parking.mujoco.ground import bare_ground, paint_lines, texture_size
from helmsight.envs.parking.scenario import BOX_HEIGHT, Scenario

CELLS_PER_METRE = 6
Field = NDArray[np.float32]
# A factor of 1 is stored as this, to leave room above.
UNITY = 180.0
LAMP_COLOUR = (1.0, 0.82, 0.55)
LAMP_REACH = 3.6
# A shadow longer than this leaves the lot or fades in the sky's light.
LONGEST_SHADOW = 12.0


def sun_direction(appearance: Appearance) -> NDArray[np.float64]:
    """Unit vector [3] from the ground to the sun."""
    azimuth, elevation = appearance.sun_azimuth, appearance.sun_elevation
    return np.array(
        [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )


def lit_ground(scenario: Scenario) -> NDArray[np.uint8]:
    """The ground's texture of a scenario, [H, W, 3]: material, lines, light and shadows."""
    looks, lot = scenario.appearance, scenario.lot
    height, width = texture_size(lot)
    image = bare_ground(looks.ground, looks.ground_variant, height, width).copy()
    paint_lines(image, lot, looks.line_colour, looks.line_wear)
    light = cv2.resize(light_map(scenario), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(image, light, dst=image, scale=1.0 / UNITY)
    return image


def light_map(scenario: Scenario) -> NDArray[np.uint8]:
    """Light on the ground, [rows, columns, 3], `UNITY` where the renderer's own light is right.

    The renderer lights the whole ground with sun and sky; the map takes the sun away in shadows,
    the sky below cars, and adds the lamps.
    """
    looks, lot = scenario.appearance, scenario.lot
    shape = (
        round(2.0 * lot.half_width * CELLS_PER_METRE),
        round(2.0 * lot.half_length * CELLS_PER_METRE),
    )
    sun, sky = _sun_and_sky(scenario, shape)
    glow = looks.lamp_light * _lamp_glow(lot, shape)
    height = math.sin(looks.sun_elevation)
    channels = []
    for sun_colour, lamp_colour in zip(looks.sun_colour, LAMP_COLOUR, strict=True):
        direct = sun_colour * height
        light = sky * (direct * sun + looks.ambient + lamp_colour * glow)
        scale = looks.ground_brightness * UNITY / (direct + looks.ambient)
        channels.append(np.clip(light * np.float32(scale), 0.0, 255.0).astype(np.uint8))
    return np.stack(channels, axis=2)


def _sun_and_sky(scenario: Scenario, shape: tuple[int, int]) -> tuple[Field, Field]:
    """Shares of the sun's and of the sky's light that reach the ground, [rows, columns]."""
    lot = scenario.lot
    origin = np.array([lot.half_length, lot.half_width])
    sunless = np.zeros(shape, np.uint8)
    skyless = np.zeros(shape, np.uint8)
    offset = _shadow_offset(scenario.appearance)
    for plan, height in _shadow_casters(scenario):
        _fill(sunless, _shadow(plan.corners(), offset * height), origin)
    for plan in scenario.obstacles():
        _fill(skyless, plan.corners(), origin)
    softness = 0.12 * CELLS_PER_METRE
    sun = 1.0 - np.asarray(cv2.GaussianBlur(sunless, (0, 0), softness), np.float32) / 255.0
    dark = np.asarray(cv2.GaussianBlur(skyless, (0, 0), 1.6 * softness), np.float32) / 255.0
    return sun, 1.0 - 0.75 * dark


def _shadow_offset(looks: Appearance) -> NDArray[np.float64]:
    """How far a shadow's tip moves per metre of height, [2], metres."""
    sun = sun_direction(looks)
    return -sun[:2] / max(float(sun[2]), 1e-3)


def _shadow_casters(scenario: Scenario) -> list[tuple[Rectangle, float]]:
    """Upright blocks: a car is its body with a smaller, taller cabin on it."""
    casters = [
        (block.plan, block.top)
        for block in blocks(scenario.lot)
        if block.part in ("hedge", "post", "wheel_stop")
    ]
    for car in scenario.cars:
        plan = car.footprint()
        cabin = plan.center.transform(Pose(-0.4, 0.0, 0.0))
        casters.append((Rectangle(plan.center, plan.length - 0.1, plan.width - 0.1), 0.92))
        casters.append((Rectangle(cabin, 1.9, 1.3), 1.45))
    casters.extend((box.footprint(), BOX_HEIGHT) for box in scenario.boxes)
    return casters


def _shadow(corners: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outline [N, 2] of what a block of these corners and this shadow shift darkens."""
    length = float(np.linalg.norm(shift))
    if length > LONGEST_SHADOW:
        shift = shift * (LONGEST_SHADOW / length)
    points = np.concatenate([corners, corners + shift]).astype(np.float32)
    return cv2.convexHull(points)[:, 0].astype(np.float64)


def _fill(
    mask: NDArray[np.uint8], points: NDArray[np.float64], origin: NDArray[np.float64]
) -> None:
    fixed = np.round(((points + origin) * CELLS_PER_METRE - 0.5) * 16.0).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_8, 4)


@functools.lru_cache(maxsize=4)
def _lamp_glow(lot: Lot, shape: tuple[int, int]) -> Field:
    """Pools of light round the lamp posts, at most about 1."""
    # At a quarter of the size: the pools are metres wide.
    rows, columns = shape[0] // 4, shape[1] // 4
    glow = np.zeros((rows, columns), np.float32)
    cells = CELLS_PER_METRE / 4.0
    for x, y in post_positions(lot):
        glow[int((y + lot.half_width) * cells), int((x + lot.half_length) * cells)] = 1.0
    pools = np.asarray(cv2.GaussianBlur(glow, (0, 0), LAMP_REACH * cells), np.float32)
    pools /= pools.max()
    return np.asarray(cv2.resize(pools, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
