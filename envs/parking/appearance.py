"""How a scenario looks: ground, light, haze, colours and camera noise, drawn per split.

`train`, `val` and `test` draw from one set of ranges; `shifted` draws from ranges that share
nothing with it, so that a policy's success there measures robustness and not memory. `val_wide`,
and demonstrations if they are to, draw from `WIDE`: many more grounds and colours (domain
randomisation, Tobin et al. 2017), and still nothing of what `shifted` draws from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
Range = tuple[float, float]

GROUND_VARIANTS = 4


@dataclass(frozen=True)
class Appearance:
    """Look of one scenario. Colours are RGB in [0, 1]; angles in radians, distances in metres.

    ground: name of the ground material; ground_variant: which of its pre-made textures.
    ground_brightness: factor on the ground's colour.
    line_colour and line_wear (0 fresh, 1 gone): the slot markings.
    lamp_light: 0 by day; towards 1 the lamp posts light pools on a dark ground.
    haze_distance: where the haze has swallowed everything.
    camera_noise: standard deviation of a pixel in grey levels of 255; camera_gain and
    camera_white_balance: factors on all channels and on each.
    """

    ground: str
    ground_variant: int
    ground_brightness: float
    line_colour: Colour
    line_wear: float
    sun_azimuth: float
    sun_elevation: float
    sun_colour: Colour
    ambient: float
    lamp_light: float
    haze_colour: Colour
    haze_distance: float
    camera_noise: float
    camera_gain: float
    camera_white_balance: Colour


@dataclass(frozen=True)
class AppearanceRanges:
    """What a family of looks is drawn from: choices by name, and closed ranges.

    `sun_warmth` 0 is white light, 1 a deep orange. `white_balance` is the cast of the red channel;
    blue gets its inverse and green stays.
    """

    grounds: tuple[str, ...]
    line_colours: tuple[Colour, ...]
    ground_brightness: Range
    line_wear: Range
    sun_elevation: Range
    sun_strength: Range
    sun_warmth: Range
    ambient: Range
    lamp_light: Range
    haze_colours: tuple[Colour, ...]
    haze_distance: Range
    camera_noise: Range
    camera_gain: Range
    white_balance: Range


# Daylight on asphalt, white or yellow lines, a decent camera.
DAY = AppearanceRanges(
    grounds=("asphalt", "old_asphalt", "fresh_asphalt"),
    line_colours=((0.92, 0.92, 0.90), (0.86, 0.72, 0.24)),
    ground_brightness=(0.85, 1.1),
    line_wear=(0.1, 0.5),
    sun_elevation=(math.radians(30.0), math.radians(75.0)),
    sun_strength=(0.55, 0.8),
    sun_warmth=(0.0, 0.2),
    ambient=(0.36, 0.5),
    lamp_light=(0.0, 0.0),
    haze_colours=((0.68, 0.78, 0.90), (0.78, 0.82, 0.86)),
    haze_distance=(90.0, 160.0),
    camera_noise=(1.0, 3.0),
    camera_gain=(0.9, 1.1),
    white_balance=(0.97, 1.03),
)

# Grounds of any colour, lines of any, more light or less, a worse camera: as far as `SHIFTED` lets.
WIDE = AppearanceRanges(
    grounds=(
        "gravel",
        "sand",
        "earth",
        "green_paint",
        "blue_paint",
        "pavers",
        "tiles",
        "patchwork",
    ),
    line_colours=((0.92, 0.92, 0.90), (0.86, 0.72, 0.24), (0.60, 0.60, 0.58), (0.90, 0.55, 0.15)),
    ground_brightness=(0.85, 1.35),
    line_wear=(0.1, 0.5),
    sun_elevation=(math.radians(26.0), math.radians(77.0)),
    sun_strength=(0.24, 0.84),
    sun_warmth=(0.0, 0.29),
    ambient=(0.34, 0.5),
    lamp_light=(0.0, 0.09),
    haze_colours=((0.68, 0.78, 0.90), (0.78, 0.82, 0.86), (0.45, 0.50, 0.58), (0.92, 0.92, 0.95)),
    haze_distance=(72.0, 160.0),
    camera_noise=(1.0, 4.9),
    camera_gain=(0.87, 1.13),
    white_balance=(0.95, 1.05),
)

# A low sun on concrete or brick, other line colours, haze, a poor camera. `NIGHT` is the same lot
# under its lamps. Every range lies outside those of `DAY` and `WIDE`.
LOW_SUN = AppearanceRanges(
    grounds=("concrete", "brick", "wet_asphalt"),
    line_colours=((0.25, 0.45, 0.85), (0.85, 0.30, 0.22), (0.35, 0.75, 0.55)),
    ground_brightness=(0.7, 0.84),
    line_wear=(0.0, 0.09),
    sun_elevation=(math.radians(8.0), math.radians(25.0)),
    sun_strength=(0.85, 1.0),
    sun_warmth=(0.4, 0.9),
    ambient=(0.51, 0.6),
    lamp_light=(0.1, 0.3),
    haze_colours=((0.88, 0.66, 0.46), (0.74, 0.70, 0.68)),
    haze_distance=(40.0, 70.0),
    camera_noise=(5.0, 10.0),
    camera_gain=(0.72, 0.86),
    white_balance=(1.06, 1.16),
)
NIGHT = AppearanceRanges(
    grounds=LOW_SUN.grounds,
    line_colours=LOW_SUN.line_colours,
    ground_brightness=LOW_SUN.ground_brightness,
    line_wear=(0.51, 0.6),
    sun_elevation=(math.radians(78.0), math.radians(88.0)),
    sun_strength=(0.12, 0.22),
    sun_warmth=(0.3, 0.6),
    ambient=(0.24, 0.33),
    lamp_light=(0.7, 1.0),
    haze_colours=((0.06, 0.07, 0.11), (0.12, 0.10, 0.10)),
    haze_distance=LOW_SUN.haze_distance,
    camera_noise=(6.0, 12.0),
    camera_gain=(1.14, 1.3),
    white_balance=(0.86, 0.94),
)
SHIFTED = (LOW_SUN, NIGHT)


def sample_appearance(random: np.random.Generator, shifted: bool) -> Appearance:
    """Draw a look from the ranges of the training splits, or from the `shifted` ones."""
    ranges = SHIFTED[int(random.integers(len(SHIFTED)))] if shifted else DAY
    return sample_within(ranges, random)


def sample_within(ranges: AppearanceRanges, random: np.random.Generator) -> Appearance:
    """Draw a look from `ranges`."""

    def within(bounds: Range) -> float:
        return float(random.uniform(*bounds))

    def one_of(colours: tuple[Colour, ...]) -> Colour:
        return colours[int(random.integers(len(colours)))]

    strength, warmth = within(ranges.sun_strength), within(ranges.sun_warmth)
    balance = within(ranges.white_balance)
    return Appearance(
        ground=ranges.grounds[int(random.integers(len(ranges.grounds)))],
        ground_variant=int(random.integers(GROUND_VARIANTS)),
        ground_brightness=within(ranges.ground_brightness),
        line_colour=one_of(ranges.line_colours),
        line_wear=within(ranges.line_wear),
        sun_azimuth=float(random.uniform(-math.pi, math.pi)),
        sun_elevation=within(ranges.sun_elevation),
        sun_colour=(strength, strength * (1.0 - 0.3 * warmth), strength * (1.0 - 0.65 * warmth)),
        ambient=within(ranges.ambient),
        lamp_light=within(ranges.lamp_light),
        haze_colour=one_of(ranges.haze_colours),
        haze_distance=within(ranges.haze_distance),
        camera_noise=within(ranges.camera_noise),
        camera_gain=within(ranges.camera_gain),
        camera_white_balance=(balance, 1.0, 1.0 / balance),
    )
