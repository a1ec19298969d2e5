"""A scenario's appearance as CARLA's weather: sun, haze, clouds and wet ground.

What weather cannot say (painted lines, ground material, the camera's noise) stays CARLA's own.
"""

from __future__ import annotations

import math

from helmsight.envs.parking.appearance import Appearance

# Below this strength of the sun it is night, and CARLA's lamps come on when the sun is down.
NIGHT = 0.3
BRIGHTEST_SUN = 1.0


def weather_parameters(looks: Appearance) -> dict[str, float]:
    """Keyword arguments of `carla.WeatherParameters`: percentages and degrees."""
    strength = looks.sun_colour[0]
    altitude = math.degrees(looks.sun_elevation)
    wet = 60.0 if looks.ground == "wet_asphalt" else 0.0
    return {
        "cloudiness": 100.0 * min(max(BRIGHTEST_SUN - strength, 0.0), 1.0),
        "precipitation": 0.0,
        "precipitation_deposits": wet,
        "wind_intensity": 5.0,
        "sun_azimuth_angle": -math.degrees(looks.sun_azimuth) % 360.0,
        "sun_altitude_angle": -20.0 if strength < NIGHT else altitude,
        "fog_density": min(1500.0 / looks.haze_distance, 60.0),
        "fog_distance": 0.25 * looks.haze_distance,
        "fog_falloff": 0.2,
        "wetness": wet,
        "scattering_intensity": 1.0,
        "mie_scattering_scale": 0.03,
        "rayleigh_scattering_scale": 0.0331,
        "dust_storm": 0.0,
    }
