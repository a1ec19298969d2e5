"""Pictures of both cameras in one go, with one OpenGL context for all scenes.

`official` gives robosuite's own pixels (tested). `fast` leaves out what costs most on a software
renderer and tells a policy least: shadows, reflections, multisampling, all geoms but the visual
ones, and faces of meshes that are smaller than a pixel.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs import opengl
from helmsight.envs.libero.coarse_meshes import coarse_meshes

QUALITIES = ("official", "fast")
# robosuite's names, in the order of the embodiment's cameras.
CAMERAS = ("agentview", "robot0_eye_in_hand")
_GEOMS_AT_MOST = 1000
# robosuite's group of the geoms that are there to be seen; its group 0 holds those that collide.
_VISUAL_GROUP = 1


@dataclass
class _Loaded:
    """What drawing one model needs: its textures and meshes on the renderer, and a scene."""

    model: Any
    context: Any
    scene: Any


class CameraRenderer:
    """Draws square pictures of `size` pixels. Owns an OpenGL context; `close` frees it.

    Raises ValueError for an unknown quality, RuntimeError, saying what to install, without OpenGL.
    """

    def __init__(self, size: int, quality: str) -> None:
        if quality not in QUALITIES:
            raise ValueError(f"unknown render={quality!r}; the choices are {', '.join(QUALITIES)}")
        self.size, self.quality = size, quality
        self._opengl = opengl.make_context()
        self._options = _drawn_groups(quality)
        self._loaded: _Loaded | None = None

    def render(self, model: Any, data: Any) -> tuple[NDArray[np.uint8], ...]:
        """A picture [size, size, 3] of each of `CAMERAS`, turned by half a turn as published.

        What is shown is what `data` has derived from its state.
        """
        import mujoco

        self._opengl.make_current()
        loaded = self._load(model)
        # One place in the buffer for both: a picture elsewhere differs in the last digit.
        place = mujoco.MjrRect(0, 0, self.size, self.size)
        pictures = []
        for name in CAMERAS:
            camera = mujoco.MjvCamera()
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = model.camera(name).id
            # For each camera anew: one of the lights goes with it.
            everything = mujoco.mjtCatBit.mjCAT_ALL
            mujoco.mjv_updateScene(
                model, data, self._options, None, camera, everything, loaded.scene
            )
            mujoco.mjr_render(place, loaded.scene, loaded.context)
            pixels = np.empty((self.size, self.size, 3), np.uint8)
            mujoco.mjr_readPixels(pixels, None, place, loaded.context)
            # OpenGL's lowest row comes first and robosuite leaves it so; half a turn sets that
            # right, and mirrors the picture.
            pictures.append(np.ascontiguousarray(pixels[::-1, ::-1]))
        return tuple(pictures)

    def close(self) -> None:
        """Free everything."""
        self._unload()
        self._opengl.free()

    def _load(self, model: Any) -> _Loaded:
        """Hand a model's textures and meshes to the renderer, unless they are there already."""
        import mujoco

        if self._loaded is not None and self._loaded.model is model:
            return self._loaded
        self._unload()
        model.vis.global_.offwidth = model.vis.global_.offheight = self.size
        samples = model.vis.quality.offsamples
        if self.quality == "fast":
            model.vis.quality.offsamples = 0
        with coarse_meshes(model) if self.quality == "fast" else nullcontext():
            context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        model.vis.quality.offsamples = samples
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        scene = mujoco.MjvScene(model, maxgeom=_GEOMS_AT_MOST)
        if self.quality == "fast":
            scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._loaded = _Loaded(model, context, scene)
        return self._loaded

    def _unload(self) -> None:
        if self._loaded is not None:
            self._opengl.make_current()
            self._loaded.context.free()
            self._loaded = None


def _drawn_groups(quality: str) -> Any:
    """What is drawn: as robosuite without its colliding geoms, or the visual ones alone."""
    import mujoco

    options = mujoco.MjvOption()
    if quality == "fast":
        options.geomgroup[:] = 0
        options.sitegroup[:] = 0
    options.geomgroup[0] = 0
    options.geomgroup[_VISUAL_GROUP] = 1
    return options
