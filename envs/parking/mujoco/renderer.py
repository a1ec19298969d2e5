"""Pictures of all cameras from one off-screen buffer and one read-back.

What costs on a software renderer is vertices and state changes, so each camera draws only what its
frustum meets, and cars beyond a few metres as a handful of triangles. Light, haze and the camera's
gain and white balance go into the lights' colours and cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.camera_noise import CameraNoise
from helmsight.envs.parking.mujoco.camera_rig import CameraRig
from helmsight.envs.parking.mujoco.gl import make_context
from helmsight.envs.parking.mujoco.ground_light import lit_ground, sun_direction
from helmsight.envs.parking.mujoco.mesh import atlas
from helmsight.envs.parking.mujoco.obstacles import place, place_obstacles
from helmsight.envs.parking.mujoco.scene_index import SceneIndex
from helmsight.envs.parking.mujoco.scenery import scenery
from helmsight.envs.parking.mujoco.sky import sky_image
from helmsight.envs.parking.mujoco.visuals import EGO_MOCAP, build_visual_model
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import CameraFrames
from helmsight.envs.spec import CameraSpec

NEAR, FAR = 0.1, 150.0
MAX_GEOMS = 600


class TiledRenderer:
    """Draws scenarios on one lot. Owns an OpenGL context: `close` it before making another."""

    def __init__(self, lot: Lot) -> None:
        self.lot = lot
        pieces = scenery(lot)
        model = self._model = build_visual_model(lot, pieces)
        self._data = mujoco.MjData(model)
        self._textures = {name: model.texture(name).id for name in ("ground", "atlas")}
        self._fill_texture("atlas", atlas())
        self._gl = make_context(64, 64)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        # Reversed depth keeps float precision far away.
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._sample_textures_cheaply()
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        for flag in ("FOG", "CULL_FACE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 1
        self._index = SceneIndex(model, pieces)
        self._rig: CameraRig | None = None
        self._raw_colour = np.empty((0, 0, 3), np.uint8)
        self._raw_depth = np.empty((0, 0), np.float32)

    def load(self, scenario: Scenario) -> None:
        """Put up the scenario's cars and boxes and dress everything as it looks."""
        self._gl.make_current()
        self._scenario = scenario
        self._index.load(scenario)
        self._fill_texture("ground", lit_ground(scenario))
        mujoco.mjr_uploadTexture(self._model, self._context, self._textures["ground"])
        looks = scenario.appearance
        haze = np.clip(np.array(looks.haze_colour) * self._exposure(), 0.0, 1.0)
        self._context.fogRGBA[:] = (*haze, 1.0)
        self._context.fogStart, self._context.fogEnd = (
            0.15 * looks.haze_distance,
            looks.haze_distance,
        )
        self._noise = CameraNoise(scenario.seed, looks.camera_noise)
        place_obstacles(self._data, scenario)
        self._update_scene()
        self._sky: NDArray[np.uint8] | None = None
        self._proven = False

    def render(
        self,
        vehicle: Pose,
        cameras: Sequence[CameraSpec],
        depth: bool,
        moment: int,
    ) -> CameraFrames:
        """Pictures of cameras on a vehicle at a pose; equal `moment`s get equal camera noise."""
        rig = self._rig_of(cameras)
        count, height, width = len(rig), rig.height, rig.width
        self._gl.make_current()
        self._make_room(count * height, width)
        if any(rig.sees_ego):
            place(self._data, EGO_MOCAP, vehicle)
            self._update_scene()
        visible = self._index.visible(rig, vehicle)
        viewport = mujoco.MjrRect(0, 0, width, height)
        for index, (position, rotation) in enumerate(zip(*rig.place(vehicle), strict=True)):
            # Pixels come bottom-up, so the first camera goes on top.
            viewport.bottom = (count - 1 - index) * height
            self._aim(position, rotation, rig.tan_vertical[index])
            self._index.show(visible[index], rig.sees_ego[index])
            mujoco.mjr_render(viewport, self._scene, self._context)
        whole = mujoco.MjrRect(0, 0, width, count * height)
        # The depth costs little and says where the sky is, so it is read in any case.
        mujoco.mjr_readPixels(self._raw_colour, self._raw_depth, whole, self._context)
        self._prove_not_empty()
        self._paint_sky(rig)
        colour = self._noise.apply_flipped(self._raw_colour, moment)
        metres = _metres(self._raw_depth) if depth else None
        shape = (count, height, width)
        return CameraFrames(
            colour.reshape(*shape, 3), None if metres is None else metres.reshape(shape)
        )

    def close(self) -> None:
        """Free the OpenGL context. Must come before the next context is made."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def _fill_texture(self, name: str, image: NDArray[np.uint8]) -> None:
        start = self._model.tex_adr[self._textures[name]]
        self._model.tex_data[start : start + image.size] = image.reshape(-1)

    def _sample_textures_cheaply(self) -> None:
        """Blend less between pixels and mipmaps than MuJoCo does: a fifth of the drawing time."""
        # Imported late: PyOpenGL binds itself to the platform that the context was made with.
        from OpenGL import GL

        for name, (smaller, larger) in {
            "ground": (GL.GL_LINEAR_MIPMAP_NEAREST, GL.GL_LINEAR),
            "atlas": (GL.GL_NEAREST, GL.GL_NEAREST),
        }.items():
            GL.glBindTexture(GL.GL_TEXTURE_2D, int(self._context.texture[self._textures[name]]))
            GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, smaller)
            GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MAG_FILTER, larger)

    def _exposure(self) -> NDArray[np.float64]:
        """The camera's gain and white balance as factors on light."""
        looks = self._scenario.appearance
        return looks.camera_gain * np.array(looks.camera_white_balance)

    def _update_scene(self) -> None:
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            mujoco.MjvOption(),
            None,
            mujoco.MjvCamera(),
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        looks, light = self._scenario.appearance, self._scene.lights[0]
        light.dir[:] = -sun_direction(looks)
        light.diffuse[:] = np.array(looks.sun_colour) * self._exposure()
        light.ambient[:] = looks.ambient * self._exposure()
        self._index.attach(self._scene)
        self._eyes = tuple(self._scene.camera)
        for eye in self._eyes:
            eye.frustum_center = 0.0
            # Zero: as wide as the viewport, whose pixels are square.
            eye.frustum_width = 0.0
            eye.frustum_near, eye.frustum_far = NEAR, FAR
            eye.orthographic = 0

    def _aim(
        self, position: NDArray[np.float64], rotation: NDArray[np.float64], tan_vertical: float
    ) -> None:
        """Point the scene's camera; both eyes, because MuJoCo averages them."""
        half_height = NEAR * tan_vertical
        for eye in self._eyes:
            eye.pos = position
            eye.forward = rotation[:, 2]
            eye.up = -rotation[:, 1]
            eye.frustum_bottom, eye.frustum_top = -half_height, half_height

    def _rig_of(self, cameras: Sequence[CameraSpec]) -> CameraRig:
        """The cameras as a rig; callers pass the same ones picture after picture."""
        if self._rig is None or self._rig.cameras != tuple(cameras):
            self._rig = CameraRig(cameras)
            self._sky = None
        return self._rig

    def _paint_sky(self, rig: CameraRig) -> None:
        """Fill in the sky where nothing was drawn: haze at the horizon, clearer above."""
        if self._sky is None or self._sky.shape != self._raw_colour.shape:
            self._sky = sky_image(rig, self._scenario.appearance, self._exposure())
        nothing = cv2.inRange(self._raw_depth, -1.0, 0.0)
        cv2.copyTo(self._sky, nothing, self._raw_colour)

    def _make_room(self, height: int, width: int) -> None:
        if self._raw_colour.shape[:2] == (height, width):
            return
        # Exactly as large as needed: clearing and drawing cost by the buffer's whole size.
        mujoco.mjr_resizeOffscreen(width, height, self._context)
        self._raw_colour = np.empty((height, width, 3), np.uint8)
        self._raw_depth = np.empty((height, width), np.float32)

    def _prove_not_empty(self) -> None:
        """A context made while an older one lives can turn drawing into a silent nothing."""
        if self._proven:
            return
        if self._raw_colour.max() == self._raw_colour.min():
            raise RuntimeError(
                "OpenGL returned an empty picture; is another OpenGL context alive in this process?"
            )
        self._proven = True


def _metres(reversed_depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Metres along the optical axis, right way up, from a reversed depth buffer, bottom row first.

    `inf` where nothing was drawn.
    """
    metres = np.asarray(cv2.flip(reversed_depth, 0), np.float32)
    nothing = metres <= 0.0
    metres *= np.float32((FAR - NEAR) / (FAR * NEAR))
    metres += np.float32(1.0 / FAR)
    np.reciprocal(metres, out=metres)
    metres[nothing] = np.inf
    return metres
