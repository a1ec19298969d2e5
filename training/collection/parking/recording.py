"""The columns of a parking data set, and one episode's frames in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.birds_eye import SIZE
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.training.collection.parking.settings import ParkingCollection
from helmsight.training.dataset.format import (
    BIRDS_EYE_GREY_STEP,
    Feature,
    Features,
    embodiment_features,
)

DEPTH_CELLS = 16
NOTHING_IN_RANGE = 65535
SIMULATOR_STATE = ("x", "y", "yaw", "speed", "steering_angle")


def parking_features(settings: ParkingCollection) -> Features:
    """The data set's features for the settings."""
    embodiment = settings.embodiment()
    features = embodiment_features(embodiment)
    if settings.depth:
        for key in embodiment.depth_keys:
            features[key] = _feature("uint16", [DEPTH_CELLS**2])
    if settings.birds_eye:
        names = ["height", "width", "channels"]
        features["observation.birds_eye"] = _feature("image", [SIZE, SIZE, 1], names)
    features["simulator.state"] = _feature("float32", [5], list(SIMULATOR_STATE))
    features["next.done"] = _feature("bool", [1])
    features["next.success"] = _feature("bool", [1])
    return features


def block_depth(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest depth in each of 16 x 16 blocks, row by row: [H, W] metres -> [256] mm.

    `NOTHING_IN_RANGE` stands for blocks in which nothing is nearer than 65.535 m.
    """
    height, width = depth.shape
    if height % DEPTH_CELLS or width % DEPTH_CELLS:
        raise ValueError(f"depth must be a multiple of {DEPTH_CELLS} pixels, got {depth.shape}")
    blocks = depth.reshape(DEPTH_CELLS, height // DEPTH_CELLS, DEPTH_CELLS, width // DEPTH_CELLS)
    nearest = blocks.min(axis=(1, 3)).reshape(-1)  # [16, h, 16, w] -> [256]
    return np.minimum(np.round(nearest * 1000.0), NOTHING_IN_RANGE).astype(np.uint16)


class EpisodeRecorder:
    """Collects one episode's frames: what was observed and what was then done."""

    def __init__(self, environment: ParkingEnvironment, features: Features) -> None:
        self._environment = environment
        self._columns: dict[str, list[Any]] = {key: [] for key in features}

    def __len__(self) -> int:
        return len(self._columns["action"])

    def record(self, action: NDArray[np.float32]) -> None:
        """Add the frame of now, and the action about to be carried out."""
        environment = self._environment
        frame: dict[str, Any] = {"action": action, "next.done": False, "next.success": False}
        for key, value in environment.observe().items():
            frame[key] = block_depth(value) if key.startswith("observation.depth.") else value
        if "observation.birds_eye" in self._columns:
            frame["observation.birds_eye"] = environment.birds_eye_label() * BIRDS_EYE_GREY_STEP
        state = environment.vehicle_state()
        frame["simulator.state"] = np.array(
            [*state.pose, state.speed, state.steering_angle], np.float32
        )
        for key, value in frame.items():
            self._columns[key].append(value)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The successful episode's columns, one array [T, ...] a feature."""
        self._columns["next.done"][-1] = True
        self._columns["next.success"][-1] = True
        return {key: np.stack(values) for key, values in self._columns.items()}


def _feature(dtype: str, shape: list[int], names: list[str] | None = None) -> Feature:
    return {"dtype": dtype, "shape": shape, "names": names}
