"""How a scenario looks: ground, light, haze, colours and camera noise, drawn per split.

`train`, `val` and `test` draw from one set of ranges; `shifted` draws from ranges that share
nothing with it, so that a policy's success there measures robustness and not memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Appearance:
    """Look of one scenario. Colours are RGB in [0, 1]; angles in radians.

    ground: name of the ground material; ground_variant: which of its pre-made textures.
    line_colour and line_wear (0 fresh, 1 gone): the slot markings.
    """

    ground: str
    ground_variant: int
    line_colour: Colour
    line_wear: float
    sun_azimuth: float
    sun_elevation: float
    sun_colour: Colour
    ambient: float
    haze_colour: Colour
    haze_distance: float
    camera_noise: float
    camera_gain: float
    camera_white_balance: Colour


def sample_appearance(random: np.random.Generator, shifted: bool) -> Appearance:
    """Draw a look from the ranges of the training splits, or from the `shifted` ones."""
    raise NotImplementedError
