"""The first half of recording: one episode encoded into a folder of its own.

This is the heavy part and needs nothing of the data set, so worker processes do it; the
`StagedEpisode` they hand back is small and picklable, and `DatasetWriter.commit` moves it in.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from helmsight.training.dataset import format as layout
from helmsight.training.dataset.files import full_disk_explained, sync_file
from helmsight.training.dataset.format import Feature, Features
from helmsight.training.dataset.statistics import (
    Statistics,
    counter_statistics,
    image_statistics,
    vector_statistics,
)
from helmsight.training.dataset.video import encode_video

COLUMNS_FILE = "columns.arrow"


@dataclass(frozen=True)
class StagedEpisode:
    """An episode on disk but in no data set yet.

    folder: holds `columns.arrow` and one `<video key>.mp4` a video. statistics: of every feature
    but those that depend on the episode's place in the data set.
    """

    folder: Path
    length: int
    task: str
    fps: int
    features: Features
    statistics: Statistics

    def discard(self) -> None:
        """Delete the staged files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def stage_episode(
    folder: Path,
    features: Features,
    fps: int,
    columns: Mapping[str, NDArray[Any]],
    task: str,
) -> StagedEpisode:
    """Encode an episode into `folder` (created; must be empty or absent).

    columns: one array [T, ...] a feature: video and image uint8 [T, H, W, C] RGB or grey, vectors
    [T, n] or, for shape [1], [T].
    Raises ValueError naming the feature whose array does not fit; OSError if the disk is full, and
    then leaves nothing behind.
    """
    layout.check_features(features)
    arrays = _checked_columns(features, columns)
    length = len(next(iter(arrays.values())))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with full_disk_explained(f"the episode in {folder} was not stored"):
            table = _encode(folder, features, fps, arrays, length)
            with (
                pa.OSFile(str(folder / COLUMNS_FILE), "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as writer,
            ):
                writer.write_table(table)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return StagedEpisode(folder, length, task, fps, features, _statistics(features, arrays, fps))


def _checked_columns(
    features: Features, columns: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Columns in the order of the features, every one of shape [T, *feature shape]."""
    missing, unknown = features.keys() - columns.keys(), columns.keys() - features.keys()
    if missing or unknown:
        raise ValueError(
            f"the columns do not match the features: missing {sorted(missing) or 'none'}, "
            f"unknown {sorted(unknown) or 'none'}"
        )
    arrays = {key: _checked_column(key, features[key], columns[key]) for key in features}
    lengths = {key: len(array) for key, array in arrays.items()}
    if not lengths or min(lengths.values()) < 1 or len(set(lengths.values())) != 1:
        raise ValueError(f"every column needs the same number (>= 1) of frames, got {lengths}")
    return arrays


def _checked_column(key: str, feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    array, shape = np.asarray(values), tuple(feature["shape"])
    is_picture = feature["dtype"] in ("video", "image")
    dtype = np.dtype("uint8" if is_picture else feature["dtype"])
    if shape == (1,) and array.ndim == 1:
        array = array[:, None]
    if shape[-1] == 1 and is_picture and array.ndim == 3:
        array = array[..., None]
    if array.shape[1:] != shape:
        raise ValueError(f"column {key!r}: expected shape [T, {shape}], got {array.shape}")
    if is_picture and array.dtype != dtype:
        raise ValueError(f"column {key!r}: pictures must be uint8, got {array.dtype}")
    if not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise ValueError(f"column {key!r}: expected {dtype}, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"column {key!r}: NaN or infinity in frame {frame}")
    return array.astype(dtype, copy=False)


def _encode(
    folder: Path, features: Features, fps: int, arrays: dict[str, NDArray[Any]], length: int
) -> pa.Table:
    """Write the videos, return the other columns with those that only need the length."""
    data: dict[str, pa.Array] = {}
    for key, array in arrays.items():
        if features[key]["dtype"] == "video":
            path = folder / f"{key}.mp4"
            try:
                encode_video(path, array, fps)
            except av.FFmpegError as error:
                raise OSError(error.errno, f"encoding {path} failed: {error}") from error
            sync_file(path)
        elif features[key]["dtype"] == "image":
            data[key] = _png_column(array)
        else:
            data[key] = _vector_column(features[key], array)
    frame_index = np.arange(length)
    data["timestamp"] = pa.array((frame_index / fps).astype(np.float32))
    data["frame_index"] = pa.array(frame_index)
    return pa.table(data)


def _png_column(frames: NDArray[np.uint8]) -> pa.Array:
    encoded, paths = [], []
    for index, frame in enumerate(frames):
        bgr = frame if frame.shape[-1] == 1 else frame[..., ::-1]
        encoded.append(cv2.imencode(".png", bgr)[1].tobytes())
        paths.append(f"frame-{index:06d}.png")
    arrays = [pa.array(encoded, pa.binary()), pa.array(paths, pa.string())]
    return pa.StructArray.from_arrays(arrays, fields=list(layout.image_type()))


def _vector_column(feature: Feature, array: NDArray[Any]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    if array.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, type=layout.column_type(feature))


def _statistics(features: Features, arrays: dict[str, NDArray[Any]], fps: int) -> Statistics:
    statistics = {
        key: image_statistics(array)
        if features[key]["dtype"] in ("video", "image")
        else vector_statistics(array)
        for key, array in arrays.items()
    }
    length = len(next(iter(arrays.values())))
    statistics["timestamp"] = counter_statistics(0.0, 1.0 / fps, length)
    statistics["frame_index"] = counter_statistics(0.0, 1.0, length)
    return statistics
