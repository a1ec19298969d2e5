"""Reading a LeRobotDataset v3.0, ours or one that LeRobot wrote.

Low-dimensional columns are read once and kept in memory; pictures are decoded where asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.dataset import format as layout
from helmsight.training.dataset import metadata
from helmsight.training.dataset.format import DatasetError, Feature, Features
from helmsight.training.dataset.statistics import POOLED_ABOVE, Statistics
from helmsight.training.dataset.video import decode_video, i420_to_rgb

TASK_INDEX_KEY = "task_index"


class LeRobotDataset:
    """A data set on disk, as it was when this object was made.

    Raises DatasetError (a ValueError) naming file, key and expectation for whatever is missing or
    damaged.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.info: dict[str, Any] = metadata.load_info(self.root)
        self.features: Features = self.info["features"]
        self.embodiment: EmbodimentSpec | None = metadata.load_embodiment(self.root)
        self.tasks: list[str] = metadata.load_tasks(self.root)
        self.episodes = metadata.load_episode_index(self.root, self.info)
        if self.embodiment is not None and self.embodiment.rate_hz != self.fps:
            raise DatasetError(
                f"{self.root / layout.INFO_PATH}: fps is {self.fps}, the robot of "
                f"{layout.EMBODIMENT_PATH} runs at {self.embodiment.rate_hz} Hz"
            )
        self._columns: dict[str, NDArray[Any]] = {}

    @cached_property
    def instruction_columns(self) -> dict[str, list[str]]:
        """The instructions that each column of instructions counts, `task_index` first."""
        named = {TASK_INDEX_KEY: self.tasks}
        for key, feature in self.features.items():
            instructions = (feature.get("info") or {}).get(layout.INSTRUCTIONS)
            if instructions is not None:
                named[key] = list(instructions)
        return named

    @property
    def instructions(self) -> list[str]:
        """Every instruction that any column counts, once."""
        return list(dict.fromkeys(chain.from_iterable(self.instruction_columns.values())))

    @property
    def fps(self) -> int:
        return int(self.info["fps"])

    @property
    def num_episodes(self) -> int:
        return len(self.episodes)

    @property
    def num_frames(self) -> int:
        return int(self.info["total_frames"])

    @property
    def image_keys(self) -> list[str]:
        """Features whose frames are pictures: videos first, then `image` columns."""
        return [
            *layout.keys_of_dtype(self.features, "video"),
            *layout.keys_of_dtype(self.features, "image"),
        ]

    @property
    def statistics(self) -> Statistics:
        """`meta/stats.json`: per feature min, max, mean, std, count and quantiles."""
        statistics = metadata.load_statistics(self.root)
        for key, entries in statistics.items():
            feature = self.features.get(key, {"dtype": "", "shape": ()})
            if feature["dtype"] not in ("float32", "float64") or "mean" not in entries:
                continue
            found, wanted = np.size(entries["mean"]), int(np.prod(feature["shape"]))
            pooled = found == 1 and wanted > POOLED_ABOVE
            if found != wanted and not pooled:
                raise DatasetError(
                    f"{self.root / layout.STATISTICS_PATH}: {key!r} has {found} means, its feature "
                    f"has shape {list(feature['shape'])}"
                )
        return statistics

    @property
    def episode_bounds(self) -> NDArray[np.int64]:
        """First frame and the frame after the last of each episode, [episodes, 2]."""
        start = self.episodes.start
        return np.stack([start, start + self.episodes.length], axis=1)

    def episode_of(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Episode of each frame index; IndexError if one is outside the data set."""
        frames = np.asarray(indices, dtype=np.int64)
        if frames.size and (frames.min() < 0 or frames.max() >= self.num_frames):
            raise IndexError(
                f"frame indices must lie in 0 to {self.num_frames - 1}, got {frames.min()} to "
                f"{frames.max()}"
            )
        return np.searchsorted(self.episodes.start, frames, side="right") - 1

    def require_embodiment(self, spec: EmbodimentSpec) -> None:
        """Raise DatasetError with one line a difference unless `spec` recorded this data set."""
        if self.embodiment is None:
            raise DatasetError(
                f"{self.root / layout.EMBODIMENT_PATH}: the file is missing, so whether robot "
                f"{spec.name!r} recorded this data set is unknown"
            )
        differences = spec.differences(self.embodiment)
        if differences:
            raise DatasetError(
                f"{self.root} was recorded by another embodiment (expected here, data set there):"
                + "".join(f"\n  {line}" for line in differences)
            )

    def feature(self, key: str) -> Feature:
        """The feature `key`; DatasetError lists the others if there is none."""
        if key not in self.features:
            raise DatasetError(
                f"{self.root / layout.INFO_PATH}: no feature {key!r}; the features are "
                f"{', '.join(self.features)}"
            )
        return self.features[key]

    def columns(self, key: str) -> NDArray[Any]:
        """A low-dimensional column over all frames: [frames, n], or [frames] for shape [1]."""
        self.load_columns([key])
        return self._columns[key]

    def load_columns(self, keys: Sequence[str]) -> None:
        """Read several columns in one pass over the files (`columns` then finds them in memory)."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._columns]
        for key in wanted:
            if self.feature(key)["dtype"] in ("video", "image", "string"):
                raise DatasetError(
                    f"feature {key!r} has dtype {self.features[key]['dtype']!r}; columns() reads "
                    "numbers, frames() reads pictures"
                )
        if not wanted:
            return
        parts: dict[str, list[NDArray[Any]]] = {key: [] for key in wanted}
        for path, table in self._data_tables(wanted):
            for key in wanted:
                parts[key].append(_column_values(path, key, self.features[key], table[key]))
        for key in wanted:
            shape = tuple(self.features[key]["shape"])
            empty = np.empty((0,) if shape == (1,) else (0, *shape), self.features[key]["dtype"])
            self._columns[key] = np.concatenate(parts[key]) if parts[key] else empty

    def _data_tables(self, keys: list[str]) -> list[tuple[Path, pa.Table]]:
        """The data files in the order of their episodes, each checked for its number of rows."""
        files, first = np.unique(self.episodes.data_file, return_index=True)
        tables = []
        for file in files[np.argsort(first)]:
            path = self._data_path(int(file))
            table = metadata.read_table(path, keys)
            expected = int(self.episodes.length[self.episodes.data_file == file].sum())
            if len(table) != expected:
                raise DatasetError(
                    f"{path}: has {len(table)} rows, the episodes in it need {expected}"
                )
            tables.append((path, table))
        return tables

    def _data_path(self, file: int) -> Path:
        position = layout.file_position(file, int(self.info["chunks_size"]))
        return self.root / self.info["data_path"].format(**position)

    def video_path(self, key: str, episode: int) -> Path:
        """The file that holds an episode's frames of a video feature."""
        file = int(self.episodes.video_file[key][episode])
        position = layout.file_position(file, int(self.info["chunks_size"]))
        return self.root / self.info["video_path"].format(video_key=key, **position)

    def frames(self, key: str, indices: ArrayLike) -> NDArray[np.uint8]:
        """Pictures of a video or image feature at frame `indices` [N]: uint8 [N, H, W, C].

        RGB, or one grey channel. Only the frames asked for are decoded.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        shape = tuple(self.feature(key)["shape"])
        if self.features[key]["dtype"] not in ("video", "image"):
            raise DatasetError(f"feature {key!r} holds no pictures; read it by columns()")
        output = np.empty((len(wanted), *shape), np.uint8)
        episodes = self.episode_of(wanted)
        for episode in np.unique(episodes):
            chosen = np.flatnonzero(episodes == episode)
            offsets = wanted[chosen] - self.episodes.start[episode]
            if self.features[key]["dtype"] == "video":
                pictures = self.video_frames(key, int(episode), offsets)
                output[chosen] = [i420_to_rgb(picture) for picture in pictures]
            else:
                output[chosen] = self.image_frames(key, int(episode), offsets)
        return output

    def video_frames(self, key: str, episode: int, offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames `offsets` [N] of an episode as the decoder gives them: I420 [N, H * 3 / 2, W]."""
        height, width, _ = self.feature(key)["shape"]
        path = self.video_path(key, episode)
        times = self.episodes.video_start[key][episode] + offsets / self.fps
        pictures = decode_video(path, times, self.fps)
        if pictures.shape[1:] != (height * 3 // 2, width):
            raise DatasetError(
                f"{path}: pictures of {pictures.shape[1] * 2 // 3} x {pictures.shape[2]} pixels, "
                f"feature {key!r} says {height} x {width}"
            )
        return pictures

    def image_frames(self, key: str, episode: int, offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames `offsets` [N] of an episode of an `image` feature, uint8 [N, H, W, C]."""
        file = int(self.episodes.data_file[episode])
        path = self._data_path(file)
        table = metadata.read_table(path, [key])
        # An episode's rows begin where the earlier episodes of the same file end.
        before = self.episodes.data_file[:episode] == file
        first = int(self.episodes.length[:episode][before].sum())
        rows = table[key].take(pa.array(first + offsets)).to_pylist()
        shape = tuple(self.feature(key)["shape"])
        return np.stack([_decode_image(self.root, path, key, shape, row) for row in rows])


def _column_values(path: Path, key: str, feature: Feature, column: pa.ChunkedArray) -> NDArray[Any]:
    """A parquet column as [rows, *shape], or [rows] for shape [1]."""
    shape = tuple(feature["shape"])
    if column.null_count:
        raise DatasetError(f"{path}: column {key!r} has {column.null_count} empty entries")
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    rows = len(array)
    while not pa.types.is_primitive(array.type):
        array = array.flatten()
    values = array.to_numpy(zero_copy_only=False)
    if values.size != rows * int(np.prod(shape)):
        raise DatasetError(
            f"{path}: column {key!r} has {values.size / max(rows, 1):g} entries a row, its feature "
            f"has shape {list(shape)}"
        )
    if values.dtype != np.dtype(feature["dtype"]):
        raise DatasetError(
            f"{path}: column {key!r} is {values.dtype}, its feature says {feature['dtype']}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values))) // max(int(np.prod(shape)), 1)
        raise DatasetError(f"{path}: column {key!r} holds NaN or infinity in row {row}")
    return values if shape == (1,) else values.reshape(rows, *shape)


def _decode_image(
    root: Path, path: Path, key: str, shape: tuple[int, ...], row: dict[str, Any]
) -> NDArray[np.uint8]:
    """One entry of an `image` column, from its bytes or from the file that it names."""
    content = row["bytes"]
    if content is None:
        file = root / (row["path"] or "")
        if not file.is_file():
            raise DatasetError(f"{path}: column {key!r} has neither bytes nor a file, {file}")
        content = file.read_bytes()
    flag = cv2.IMREAD_GRAYSCALE if shape[2] == 1 else cv2.IMREAD_COLOR_RGB
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if picture is None or picture.shape[:2] != shape[:2]:
        found = "no picture" if picture is None else f"{picture.shape[0]} x {picture.shape[1]}"
        raise DatasetError(
            f"{path}: column {key!r} holds {found}, expected a picture of {shape[0]} x {shape[1]}"
        )
    return np.asarray(picture, np.uint8).reshape(shape)
