"""How the lot looks: as the client's looks prop says, else as the weather does."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from helmsight.envs.parking.appearance import Appearance, Colour
from helmsight.envs.parking.carla_server.wire import CallRefused
from helmsight.envs.parking.scenario import Scenario

WEATHER_FIELDS = 14
# Cloudiness, precipitation and its deposits, wind; sun azimuth and altitude in degrees; fog
# density, distance and falloff; wetness; scattering (3); dust storm.
CLEAR_NOON = (5.0, 0.0, 0.0, 10.0, -1.0, 45.0, 2.0, 0.75, 0.1, 0.0, 1.0, 0.03, 0.0331, 0.0)


class Looks(NamedTuple):
    """What the looks prop carries: appearance, the seed of camera noise, exact colours in order."""

    appearance: Appearance
    seed: int
    cars: tuple[Colour, ...]
    boxes: tuple[Colour, ...]


def looks_json(scenario: Scenario) -> str:
    """A scenario's looks, as the looks prop carries them."""
    data = {
        "appearance": asdict(scenario.appearance),
        "seed": scenario.seed,
        "cars": [car.colour for car in scenario.cars],
        "boxes": [box.colour for box in scenario.boxes],
    }
    return json.dumps(data)


def read_looks(text: str) -> Looks:
    """Inverse of `looks_json`; CallRefused for any other text."""
    try:
        data = json.loads(text)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in data["appearance"].items()
        }
        cars, boxes = (
            tuple((float(red), float(green), float(blue)) for red, green, blue in data[name])
            for name in ("cars", "boxes")
        )
        return Looks(Appearance(**values), int(data["seed"]), cars, boxes)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CallRefused(f"the looks prop holds no appearance: {error}") from None


def appearance_of_weather(weather: Sequence[float]) -> Appearance:
    """Looks for a client that knows nothing of the looks prop: sun, clouds, fog and wet ground."""
    clouds, sun_azimuth, altitude = weather[0] / 100.0, weather[4], weather[5]
    fog, wetness = weather[6] / 100.0, max(weather[2], weather[9]) / 100.0
    night = altitude < 0.0
    sun = 0.15 if night else 0.8 - 0.35 * clouds
    return Appearance(
        ground="wet_asphalt" if wetness > 0.3 else "asphalt",
        ground_variant=0,
        ground_brightness=1.0,
        line_colour=(0.92, 0.92, 0.90),
        line_wear=0.2,
        sun_azimuth=math.remainder(-math.radians(sun_azimuth), 2.0 * math.pi),
        sun_elevation=math.radians(min(max(abs(altitude), 8.0), 88.0)),
        sun_colour=(sun, sun, sun),
        ambient=0.28 if night else 0.42 + 0.15 * clouds,
        lamp_light=0.9 if night else 0.0,
        haze_colour=(0.08, 0.08, 0.1) if night else (0.72, 0.78, 0.85),
        haze_distance=160.0 - 110.0 * min(fog, 1.0),
        camera_noise=1.0,
        camera_gain=1.0,
        camera_white_balance=(1.0, 1.0, 1.0),
    )
