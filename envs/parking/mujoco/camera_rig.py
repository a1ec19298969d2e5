"""Several cameras on one vehicle as arrays: where they are and what they may see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.vehicle import EGO
from helmsight.envs.spec import CameraSpec


class CameraRig:
    """Cameras of one image size, fixed to a vehicle.

    Raises ValueError without cameras, or if their image sizes differ.
    """

    def __init__(self, cameras: Sequence[CameraSpec]) -> None:
        if not cameras:
            raise ValueError("render needs at least one camera, got none")
        sizes = {(camera.width, camera.height) for camera in cameras}
        if len(sizes) > 1:
            raise ValueError(f"all cameras must have one image size, got {sorted(sizes)}")
        self.cameras = tuple(cameras)
        self.width, self.height = cameras[0].width, cameras[0].height
        # Tangents of half the fields of view, [C].
        self.tan_horizontal = np.tan([camera.horizontal_fov / 2.0 for camera in cameras])
        self.tan_vertical = np.tan([camera.vertical_fov / 2.0 for camera in cameras])
        # Cameras on the ego car sit flush with its body and do not see it; any other one does.
        self.sees_ego = [not _on_board(camera) for camera in cameras]
        self._positions = np.array([camera.position for camera in cameras])
        self._rotations = np.stack([camera.rotation() for camera in cameras])
        half_x = np.array([camera.horizontal_fov / 2.0 for camera in cameras])[:, None]
        half_y = np.array([camera.vertical_fov / 2.0 for camera in cameras])[:, None]
        self._edges = np.cos(half_x), np.sin(half_x), np.cos(half_y), np.sin(half_y)

    def __len__(self) -> int:
        return len(self.cameras)

    def place(self, vehicle: Pose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions [C, 3] and rotations [C, 3, 3] (from the optical frame) in the lot frame."""
        cos, sin = math.cos(vehicle.yaw), math.sin(vehicle.yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return self._positions @ turn.T + (vehicle.x, vehicle.y, 0.0), turn @ self._rotations

    def distances_and_visibility(
        self, vehicle: Pose, centers: NDArray[np.float64], radii: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Distances [C, N] from the cameras to spheres [N, 3], and whether each may be in view."""
        positions, rotations = self.place(vehicle)
        optical = np.swapaxes(rotations, 1, 2)  # [C, 3, 3], rows right, down, forward
        # Coordinates in the cameras' optical frames, [C, 3, N].
        local = optical @ centers.T - optical @ positions[:, :, None]
        right, down, forward = local[:, 0], local[:, 1], local[:, 2]
        cos_x, sin_x, cos_y, sin_y = self._edges
        # Signed distance beyond the nearer of two opposite frustum planes.
        beside = np.abs(right) * cos_x - forward * sin_x
        above = np.abs(down) * cos_y - forward * sin_y
        inside = (beside <= radii) & (above <= radii) & (forward > -radii)
        return np.sqrt(right * right + down * down + forward * forward), inside


def _on_board(camera: CameraSpec) -> bool:
    """Whether a camera sits on the ego car or within a hand's breadth of it."""
    x, y, z = camera.position
    margin = 0.2
    return (
        -EGO.rear - margin < x < EGO.front + margin
        and abs(y) < EGO.width / 2.0 + margin
        and z < EGO.height + 2.0 * margin
    )
