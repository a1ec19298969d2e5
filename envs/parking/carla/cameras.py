"""Camera rigs on the ego car, and their images matched to ticks by frame number."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.carla.connection import OWN_ROLE, SynchronousWorld
from helmsight.envs.parking.carla.frame import camera_mount
from helmsight.envs.parking.carla.frames import FrameBuffer
from helmsight.envs.parking.simulator import CameraFrames
from helmsight.envs.spec import CameraSpec

COLOUR_CAMERA, DEPTH_CAMERA = "sensor.camera.rgb", "sensor.camera.depth"
# CARLA's depth ends here; the sky is there.
FARTHEST = 999.0
DEPTH_UNIT = 1000.0 / (2**24 - 1)
# What would make two looks at one scene differ, where a server's cameras have it.
STEADY = {"motion_blur_intensity": "0.0", "lens_flare_intensity": "0.0"}


class MissedFrame(UserWarning):
    """A camera's image of a tick did not come; the one before was used."""


class CameraMount:
    """The sensor actors of one rig on one ego car."""

    def __init__(self, cameras: Sequence[CameraSpec], depth: bool) -> None:
        self.cameras, self.depth = tuple(cameras), depth
        self.missed = 0
        self._buffers: list[FrameBuffer] = []

    def spawn(self, server: SynchronousWorld, ego: Any, rear_axle: float) -> list[Any]:
        """Mount all cameras and listen; images come with the next tick. Gives the actors."""
        carla = server.carla
        actors: list[Any] = []
        kinds = [COLOUR_CAMERA, DEPTH_CAMERA] if self.depth else [COLOUR_CAMERA]
        self._buffers = []
        for kind in kinds:
            for camera in self.cameras:
                buffer = FrameBuffer()
                blueprint = _blueprint(server.world, kind, camera)
                location, (pitch, yaw, roll) = camera_mount(camera, rear_axle)
                transform = carla.Transform(
                    carla.Location(*location), carla.Rotation(pitch, yaw, roll)
                )
                actor = server.world.spawn_actor(blueprint, transform, attach_to=ego)
                server.listen(actor, buffer.put)
                actors.append(actor)
                self._buffers.append(buffer)
        return actors

    def catch_up(self) -> None:
        """Let go of images that nobody will look at any more."""
        for buffer in self._buffers:
            buffer.catch_up()

    def frames(self, frame: int, seconds: float) -> CameraFrames:
        """All images of a frame.

        A missing one is replaced by the same camera's one before, counted in `missed` and warned
        of. Raises ConnectionError where there is none before.
        """
        first = self.cameras[0]
        shape = (len(self.cameras), first.height, first.width)
        colour = np.empty((*shape, 3), np.uint8)
        depth = np.empty(shape, np.float32) if self.depth else None
        # Each is converted as it comes, while the next is on its way.
        for index in range(len(self._buffers)):
            image = self._image(index, frame, seconds)
            kind, camera = divmod(index, len(self.cameras))
            if kind == 0:
                colour[camera] = colour_of(image)
            else:
                assert depth is not None
                depth[camera] = depth_of(image)
        return CameraFrames(colour, depth)

    def _image(self, index: int, frame: int, seconds: float) -> NDArray[np.uint8]:
        """BGRA [H, W, 4]. Raises ConnectionError for an image of another size than asked for."""
        camera = self.cameras[index % len(self.cameras)]
        image = self._buffers[index].take(frame, seconds)
        if image is None:
            self.missed += 1
            name = camera.name
            image = self._buffers[index].before(frame)
            if image is None:
                raise ConnectionError(
                    f"camera {name} gave no image of frame {frame} within {seconds:g} s"
                )
            warnings.warn(
                f"camera {name} gave no image of frame {frame} within {seconds:g} s; used that of "
                f"frame {image.frame}",
                MissedFrame,
                stacklevel=2,
            )
        pixels = np.frombuffer(image.raw_data, np.uint8)
        pixels = pixels.reshape(image.height, image.width, 4)  # [H * W * 4] -> [H, W, 4]
        wanted = (camera.height, camera.width, 3)
        if pixels.shape[:2] != wanted[:2]:
            raise ConnectionError(f"an image is {pixels.shape}, {wanted} was asked for")
        return pixels


def colour_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB [H, W, 3] of BGRA [H, W, 4]."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), np.uint8)


def depth_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Metres along the optical axis [H, W] of CARLA's coded depth; inf where nothing is hit."""
    code = pixels[..., :3].astype(np.float64) @ np.array([65536.0, 256.0, 1.0])
    depth = (code * DEPTH_UNIT).astype(np.float32)
    depth[depth > FARTHEST] = np.inf
    return depth


def _blueprint(world: Any, kind: str, camera: CameraSpec) -> Any:
    blueprint = world.get_blueprint_library().find(kind)
    values = {
        "image_size_x": str(camera.width),
        "image_size_y": str(camera.height),
        "fov": repr(math.degrees(camera.horizontal_fov)),
        "role_name": OWN_ROLE,
        **STEADY,
    }
    for name, value in values.items():
        if blueprint.has_attribute(name):
            blueprint.set_attribute(name, value)
    return blueprint
