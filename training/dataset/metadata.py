"""What `meta/` says about a data set: read, checked, and summed up as numpy columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.dataset import format as layout
from helmsight.training.dataset.format import DatasetError, Features
from helmsight.training.dataset.statistics import Statistics, from_jsonable

_REQUIRED_INFO = ("fps", "features", "total_episodes", "total_frames", "chunks_size", "data_path")


def read_json(path: Path) -> Any:
    """Parse a JSON file; DatasetError names the file if it is missing or damaged."""
    if not path.is_file():
        raise DatasetError(f"{path}: the file is missing")
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error})") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; DatasetError names the file otherwise."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file; DatasetError names the file, and the columns that it lacks."""
    if not path.is_file():
        raise DatasetError(f"{path}: the file is missing")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in columns or () if name not in names]
            if missing:
                raise DatasetError(
                    f"{path}: lacks column {', '.join(missing)}; it has {', '.join(names)}"
                )
            # Files are small and many: handing columns to threads costs more than reading them.
            return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: the parquet file is truncated or damaged ({error})") from error


def load_info(root: Path) -> dict[str, Any]:
    """`meta/info.json`, checked for the version and the entries that reading needs."""
    path = root / layout.INFO_PATH
    if not path.is_file():
        raise DatasetError(f"{root}: no data set here, {layout.INFO_PATH} is missing")
    info = read_object(path)
    version = info.get("codebase_version")
    if version != layout.CODEBASE_VERSION:
        raise DatasetError(
            f"{path}: codebase_version is {version!r}, expected {layout.CODEBASE_VERSION!r}"
        )
    missing = [name for name in _REQUIRED_INFO if name not in info]
    if missing:
        raise DatasetError(f"{path}: lacks {', '.join(missing)}")
    _check_info(path, info)
    return info


def _check_info(path: Path, info: dict[str, Any]) -> None:
    for name, least in (
        ("fps", 1),
        ("chunks_size", 1),
        ("total_episodes", 0),
        ("total_frames", 0),
    ):
        value = info[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise DatasetError(
                f"{path}: {name} must be a whole number of at least {least}, got {value!r}"
            )
    features = info["features"]
    if not isinstance(features, dict):
        raise DatasetError(f"{path}: features must be an object, got {features!r}")
    for name, feature in features.items():
        if not (isinstance(feature, dict) and {"dtype", "shape"} <= feature.keys()):
            raise DatasetError(f"{path}: feature {name!r} needs dtype and shape, got {feature!r}")
    for name in ("data_path", "video_path"):
        try:
            (info.get(name) or "").format(video_key="key", **layout.file_position(0, 1))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path}: {name} is no path template ({error!r})") from error


def recorded_features(info: dict[str, Any]) -> Features:
    """The features that a caller records: all but the automatic ones."""
    return {
        name: feature
        for name, feature in info["features"].items()
        if name not in layout.AUTOMATIC_FEATURES
    }


def load_embodiment(root: Path) -> EmbodimentSpec | None:
    """The robot that recorded the set; None where another tool wrote it."""
    path = root / layout.EMBODIMENT_PATH
    if not path.is_file():
        return None
    try:
        return EmbodimentSpec.from_dict(read_json(path))
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not an embodiment ({error})") from error


def load_tasks(root: Path) -> list[str]:
    """Task strings by task index."""
    path = root / layout.TASKS_PATH
    table = read_table(path)
    names = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(names) != 1:
        raise DatasetError(
            f"{path}: expected the columns task_index and the task, got {table.column_names}"
        )
    pairs = sorted(zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True))
    if [index for index, _ in pairs] != list(range(len(pairs))):
        raise DatasetError(f"{path}: task_index must count from 0 to {len(pairs) - 1}, each once")
    return [task for _, task in pairs]


def load_statistics(root: Path) -> Statistics:
    """`meta/stats.json` as arrays; DatasetError where an entry is none, or not finite."""
    path = root / layout.STATISTICS_PATH
    found = read_object(path)
    try:
        statistics = from_jsonable(found)
    except (AttributeError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: not statistics by feature ({error})") from error
    for key, entries in statistics.items():
        for name, values in entries.items():
            if not np.isfinite(np.asarray(values, np.float64)).all():
                raise DatasetError(f"{path}: {name} of {key!r} holds NaN or infinity")
    return statistics


def load_collection_log(root: Path) -> list[dict[str, Any]]:
    """Lines of `meta/collection.jsonl`: one an attempt, `episode_index` None where it failed."""
    path = root / layout.COLLECTION_LOG_PATH
    if not path.is_file():
        return []
    log = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            log.append(json.loads(line))
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: not valid JSON ({error})") from error
    return log


def episode_files(root: Path) -> list[Path]:
    """The parquet files of `meta/episodes`, in order."""
    return sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))


@dataclass(frozen=True)
class EpisodeIndex:
    """Where the data of each episode lie, one entry an episode.

    start, length: frames of the whole set. data_file: flat index (chunk x chunks_size + file).
    video_file, video_start: per video key, the file and the time in seconds at which the episode
    begins in it. tasks: the episode's first task.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    data_file: NDArray[np.int64]
    video_file: dict[str, NDArray[np.int64]]
    video_start: dict[str, NDArray[np.float64]]
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.length)


def load_episode_index(root: Path, info: dict[str, Any]) -> EpisodeIndex:
    """Read `meta/episodes`, leaving out rows beyond `total_episodes` (an unfinished commit)."""
    total, chunks_size = int(info["total_episodes"]), int(info["chunks_size"])
    video_keys = layout.keys_of_dtype(info["features"], "video")
    names = ["episode_index", "tasks", "length", "dataset_from_index"]
    names += ["data/chunk_index", "data/file_index"]
    for key in video_keys:
        names += [f"videos/{key}/{part}" for part in ("chunk_index", "file_index")]
        names.append(f"videos/{key}/from_timestamp")
    tables = [read_table(path, names) for path in episode_files(root)]
    table = pa.concat_tables(tables) if tables else layout.episodes_schema({}).empty_table()
    if not tables:
        names = table.column_names
    values = {name: table[name].to_numpy() for name in names if name != "tasks"}
    kept = np.flatnonzero(values["episode_index"] < total)
    order = kept[np.argsort(values["episode_index"][kept], kind="stable")]
    if not np.array_equal(values["episode_index"][order], np.arange(total)):
        raise DatasetError(
            f"{root / 'meta' / 'episodes'}: expected one row for each of the {total} episodes of "
            f"info.json, found {len(order)}"
        )
    columns = {name: column[order] for name, column in values.items()}
    _check_bounds(root, columns, int(info["total_frames"]))

    def flat(prefix: str) -> NDArray[np.int64]:
        if not total:
            return np.empty(0, np.int64)
        return columns[f"{prefix}/chunk_index"] * chunks_size + columns[f"{prefix}/file_index"]

    tasks = table["tasks"].to_pylist()
    return EpisodeIndex(
        start=columns["dataset_from_index"],
        length=columns["length"],
        data_file=flat("data"),
        video_file={key: flat(f"videos/{key}") for key in video_keys},
        video_start={
            key: columns.get(f"videos/{key}/from_timestamp", np.empty(0)) for key in video_keys
        },
        tasks=[tasks[row][0] if tasks[row] else "" for row in order],
    )


def _check_bounds(root: Path, columns: dict[str, NDArray[Any]], total_frames: int) -> None:
    expected = np.concatenate([[0], np.cumsum(columns["length"])])
    if not np.array_equal(columns["dataset_from_index"], expected[:-1]):
        raise DatasetError(
            f"{root / 'meta' / 'episodes'}: dataset_from_index does not follow from the lengths"
        )
    if expected[-1] != total_frames:
        raise DatasetError(
            f"{root / 'meta' / 'episodes'}: the episodes have {expected[-1]} frames, info.json "
            f"says {total_frames}"
        )
