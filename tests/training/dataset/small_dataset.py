"""Data sets small enough to write in a test; also a program to be killed.

`python small_dataset.py ROOT` records episodes in ROOT until it is killed, and prints the number of
each when its commit has returned.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.spec import CameraSpec, EmbodimentSpec, VectorSpec
from helmsight.training.dataset.format import Features, embodiment_features
from helmsight.training.dataset.staging import stage_episode
from helmsight.training.dataset.writer import DatasetWriter

FPS = 10
SIZE = 32
CAMERAS = ("front", "rear")


def embodiment(name: str = "cart") -> EmbodimentSpec:
    cameras = tuple(
        CameraSpec(camera, (0.0, 0.0, 1.0), 0.0, 0.0, 1.5, SIZE, SIZE) for camera in CAMERAS
    )
    state = VectorSpec(("x", "y", "z"), ("m",) * 3, (-1.0,) * 3, (1.0,) * 3)
    action = VectorSpec(("a", "b"), ("1",) * 2, (-1.0,) * 2, (1.0,) * 2)
    return EmbodimentSpec(name, FPS, cameras, state, action)


def all_features() -> Features:
    return {
        **embodiment_features(embodiment()),
        "observation.depth.front": {"dtype": "uint16", "shape": [256], "names": None},
        "observation.birds_eye": {"dtype": "image", "shape": [20, 24, 1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
    }


def vector_features() -> Features:
    return {"action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]}}


def pictures(length: int, seed: int) -> NDArray[np.uint8]:
    """A smooth moving pattern, RGB [length, SIZE, SIZE, 3]: compresses like a camera's picture."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    frames = []
    for time in range(length):
        phase = 0.4 * time + seed
        waves = [np.sin(row / 9.0 + phase), np.cos(column / 7.0 - phase), np.sin(phase) + 0 * row]
        frames.append(np.stack(waves, axis=-1) * 100.0 + 128.0)
    return np.asarray(frames).astype(np.uint8)


def episode(features: Features, length: int, seed: int) -> dict[str, NDArray[Any]]:
    """Columns for `stage_episode`, a pure function of the arguments."""
    random = np.random.default_rng(seed)
    columns: dict[str, NDArray[Any]] = {}
    for index, (key, feature) in enumerate(features.items()):
        shape = tuple(feature["shape"])
        if feature["dtype"] == "video":
            columns[key] = pictures(length, seed * 10 + index)
        elif feature["dtype"] == "image":
            columns[key] = (random.integers(0, 3, (length, *shape)) * 100).astype(np.uint8)
        elif feature["dtype"] == "bool":
            columns[key] = np.arange(length) == length - 1
        elif feature["dtype"] == "uint16":
            columns[key] = random.integers(0, 65536, (length, *shape)).astype(np.uint16)
        else:
            columns[key] = random.normal(size=(length, *shape)).astype(feature["dtype"])
    return columns


def length_of(number: int) -> int:
    return 4 + number % 3


def add_episode(writer: DatasetWriter, number: int, task: str = "park") -> int:
    """Stage and commit the episode `number`, of `length_of(number)` frames."""
    columns = episode(writer.features, length_of(number), number)
    folder = writer.staging_folder / f"attempt-{number:06d}"
    staged = stage_episode(folder, writer.features, writer.fps, columns, task)
    return writer.commit(staged, {"attempt": number})


def record(root: Path, episodes: int, features: Features | None = None) -> Path:
    """A closed data set of `episodes` episodes in `root`."""
    chosen = all_features() if features is None else features
    with DatasetWriter.create(root, chosen, FPS, embodiment()) as writer:
        for number in range(episodes):
            add_episode(writer, number)
    return root


def record_until_killed(root: Path) -> None:
    if (root / "meta" / "info.json").exists():
        writer = DatasetWriter.open(root)
    else:
        writer = DatasetWriter.create(root, all_features(), FPS, embodiment())
    print("ready", flush=True)
    while True:
        print(add_episode(writer, writer.num_episodes, f"task {writer.num_episodes}"), flush=True)


if __name__ == "__main__":
    record_until_killed(Path(sys.argv[1]))
