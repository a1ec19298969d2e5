"""LeRobotDataset v3.0: the names, features and schemas on disk.

    meta/info.json                                     features, totals, path templates
    meta/stats.json                                    statistics a feature over the whole set
    meta/tasks.parquet                                 task index -> task string
    meta/episodes/chunk-000/file-000.parquet           one row an episode: where its data lie
    meta/embodiment.json, meta/collection.jsonl        ours: the robot, one line an attempt
    data/chunk-000/file-000.parquet                    low-dimensional columns, images as PNG
    videos/<key>/chunk-000/file-000.mp4                the `video` features

A feature is `{"dtype", "shape", "names"}` as in `info.json`; dtype is `video`, `image` or the name
of a numpy dtype. A column that counts instructions other than the episode's own names them in the
feature's `"info": {"instructions": [...]}`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from helmsight.envs.spec import EmbodimentSpec

CODEBASE_VERSION = "v3.0"
CHUNKS_SIZE = 1000
DATA_FILES_SIZE_IN_MB = 100
VIDEO_FILES_SIZE_IN_MB = 200

INFO_PATH = "meta/info.json"
STATISTICS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EMBODIMENT_PATH = "meta/embodiment.json"
COLLECTION_LOG_PATH = "meta/collection.jsonl"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

# In a feature's `info`: the instructions that the column's numbers count; -1 stands for none.
INSTRUCTIONS = "instructions"

Feature = dict[str, Any]
Features = dict[str, Feature]

# Columns that every data set has and no caller passes.
AUTOMATIC_FEATURES: Features = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}

STATISTIC_NAMES = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")

# A bird's-eye label stores class id x this as its grey value, so that any viewer shows the classes.
BIRDS_EYE_GREY_STEP = 100

_COLUMN_DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)


class DatasetError(ValueError):
    """A data set on disk is not what it must be; the message names file, key and expectation."""


def embodiment_features(embodiment: EmbodimentSpec) -> Features:
    """Features that follow from the robot: one video a camera, `observation.state`, `action`."""
    features: Features = {
        key: {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
        }
        for key, camera in zip(embodiment.image_keys, embodiment.cameras, strict=True)
    }
    for key, vector in (("observation.state", embodiment.state), ("action", embodiment.action)):
        features[key] = {"dtype": "float32", "shape": [vector.size], "names": list(vector.names)}
    return features


def check_features(features: Features) -> None:
    """Raise ValueError naming the first feature that cannot be stored."""
    for name, feature in features.items():
        missing = {"dtype", "shape"} - feature.keys()
        if missing:
            raise ValueError(f"feature {name!r} lacks {', '.join(sorted(missing))}")
        if name in AUTOMATIC_FEATURES:
            raise ValueError(f"feature {name!r} is filled in by the writer; leave it out")
        if "/" in name:
            raise ValueError(f"feature {name!r} must not contain '/', it names folders")
        _check_shape(name, feature["dtype"], tuple(feature["shape"]))


def _check_shape(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    if dtype == "video":
        if len(shape) != 3 or shape[2] != 3 or shape[0] % 2 or shape[1] % 2:
            raise ValueError(
                f"feature {name!r}: a video needs shape [even height, even width, 3], got {shape}"
            )
    elif dtype == "image":
        if len(shape) != 3 or shape[2] not in (1, 3):
            raise ValueError(
                f"feature {name!r}: an image needs shape [height, width, 1 or 3], got {shape}"
            )
    elif dtype not in _COLUMN_DTYPES:
        raise ValueError(
            f"feature {name!r} has dtype {dtype!r}; possible are video, image, "
            f"{', '.join(_COLUMN_DTYPES)}"
        )
    elif len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"feature {name!r}: a {dtype} column needs shape [n], got {shape}")


def keys_of_dtype(features: Features, dtype: str) -> list[str]:
    """Names of the features of this dtype, in order."""
    return [name for name, feature in features.items() if feature["dtype"] == dtype]


def new_info(features: Features, fps: int, robot_type: str | None) -> dict[str, Any]:
    """`info.json` of a data set without episodes."""
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNKS_SIZE,
        "data_files_size_in_mb": DATA_FILES_SIZE_IN_MB,
        "video_files_size_in_mb": VIDEO_FILES_SIZE_IN_MB,
        "fps": fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if keys_of_dtype(features, "video") else None,
        "features": {
            name: _described(feature, fps)
            for name, feature in {**features, **AUTOMATIC_FEATURES}.items()
        },
    }


def _described(feature: Feature, fps: int) -> Feature:
    described = {
        "dtype": feature["dtype"],
        "shape": list(feature["shape"]),
        "names": feature.get("names"),
    }
    if "info" in feature:
        described["info"] = feature["info"]
    if feature["dtype"] == "video":
        height, width, channels = feature["shape"]
        described["info"] = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": channels,
            "has_audio": False,
        }
    return described


def file_position(flat_index: int, chunks_size: int = CHUNKS_SIZE) -> dict[str, int]:
    """Chunk and file index of the file counted from 0."""
    return {"chunk_index": flat_index // chunks_size, "file_index": flat_index % chunks_size}


def image_type() -> pa.DataType:
    """Arrow type of an `image` column: the encoded file, or where it lies."""
    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def column_type(feature: Feature) -> pa.DataType:
    """Arrow type of a column: scalar for shape [1], fixed-size list for longer vectors."""
    if feature["dtype"] == "image":
        return image_type()
    scalar = pa.from_numpy_dtype(np.dtype(feature["dtype"]))
    size = int(feature["shape"][0])
    return scalar if size == 1 else pa.list_(scalar, size)


def data_schema(features: Features) -> pa.Schema:
    """Schema of the data files: every feature but the videos.

    The metadata tell Hugging Face's `datasets` which columns are pictures.
    """
    columns = {name: entry for name, entry in features.items() if entry["dtype"] != "video"}
    described = {name: _hugging_face_feature(feature) for name, feature in columns.items()}
    return pa.schema(
        [(name, column_type(feature)) for name, feature in columns.items()],
        metadata={"huggingface": json.dumps({"info": {"features": described}})},
    )


def _hugging_face_feature(feature: Feature) -> dict[str, Any]:
    if feature["dtype"] == "image":
        return {"_type": "Image"}
    value = {"dtype": feature["dtype"], "_type": "Value"}
    size = int(feature["shape"][0])
    return value if size == 1 else {"feature": value, "length": size, "_type": "Sequence"}


def tasks_table(tasks: list[str]) -> pa.Table:
    """`tasks.parquet`: the task strings are the pandas index, which readers rely on.

    Without the index metadata a reader that goes through pandas takes the row number for the task.
    """
    metadata = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": None,
                "field_name": "__index_level_0__",
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    schema = pa.schema(
        [("task_index", pa.int64()), ("__index_level_0__", pa.string())],
        metadata={"pandas": json.dumps(metadata)},
    )
    return pa.table([pa.array(range(len(tasks)), pa.int64()), pa.array(tasks)], schema=schema)


def episodes_schema(features: Features) -> pa.Schema:
    """Schema of `meta/episodes`: one row an episode. `features` includes the automatic ones."""
    fields: list[tuple[str, pa.DataType]] = [
        ("episode_index", pa.int64()),
        ("tasks", pa.list_(pa.string())),
        ("length", pa.int64()),
        ("data/chunk_index", pa.int64()),
        ("data/file_index", pa.int64()),
        ("dataset_from_index", pa.int64()),
        ("dataset_to_index", pa.int64()),
    ]
    for key in keys_of_dtype(features, "video"):
        fields += [
            (f"videos/{key}/chunk_index", pa.int64()),
            (f"videos/{key}/file_index", pa.int64()),
            (f"videos/{key}/from_timestamp", pa.float64()),
            (f"videos/{key}/to_timestamp", pa.float64()),
        ]
    for key, feature in features.items():
        for statistic in STATISTIC_NAMES:
            fields.append((f"stats/{key}/{statistic}", _statistic_type(feature, statistic)))
    fields += [("meta/episodes/chunk_index", pa.int64()), ("meta/episodes/file_index", pa.int64())]
    return pa.schema(fields)


def _statistic_type(feature: Feature, statistic: str) -> pa.DataType:
    if statistic == "count":
        return pa.list_(pa.int64())
    if feature["dtype"] in ("video", "image"):  # [channels, 1, 1]
        return pa.list_(pa.list_(pa.list_(pa.float64())))
    return pa.list_(pa.float64())
