"""The sky behind everything: a gradient from the haze at the horizon to the zenith."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.appearance import Appearance
from helmsight.envs.parking.mujoco.camera_rig import CameraRig

# The zenith's colour as a share of the horizon's.
ZENITH = np.array((0.52, 0.68, 0.92))
CLEAR_AT = 0.6


def sky_image(
    rig: CameraRig, looks: Appearance, exposure: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Sky of all cameras, one below the other, [C * H, W, 3].

    exposure: factors on the colour channels. A camera's elevation does not depend on where the
    vehicle is, so one image serves a whole scenario.
    """
    tiles = []
    for camera in rig.cameras:
        focal = camera.focal_length
        columns = (np.arange(camera.width) + 0.5 - camera.width / 2.0) / focal
        rows = (np.arange(camera.height) + 0.5 - camera.height / 2.0) / focal
        x, y = np.meshgrid(columns, rows)
        up = camera.rotation()[2] @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
        up = up.reshape(x.shape) / np.sqrt(x * x + y * y + 1.0)
        share = np.clip(up / CLEAR_AT, 0.0, 1.0)[..., None]
        horizon = np.array(looks.haze_colour)
        colour = (horizon + share * (horizon * ZENITH - horizon)) * exposure
        tiles.append(np.clip(255.0 * colour, 0, 255).astype(np.uint8))
    return np.concatenate(tiles)
