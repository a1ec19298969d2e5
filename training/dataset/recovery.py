"""Undo of a commit that a crash cut short: `info.json` says what belongs to the data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from helmsight.training.dataset import format as layout
from helmsight.training.dataset import metadata
from helmsight.training.dataset.files import parquet_bytes, replace_file
from helmsight.training.dataset.format import DatasetError
from helmsight.training.dataset.statistics import (
    Statistics,
    aggregate_all,
    from_jsonable,
    to_jsonable,
)

STAGING_FOLDER = ".staging"


def discard_unfinished(root: Path, staging: bool = True) -> metadata.EpisodeIndex:
    """Bring the data set in `root` back to the episodes that `info.json` counts; their index.

    staging: also delete staged episodes, which no running worker may still be writing.
    """
    info = metadata.load_info(root)
    if staging:
        shutil.rmtree(root / STAGING_FOLDER, ignore_errors=True)
    _trim_episode_rows(root, int(info["total_episodes"]))
    index = metadata.load_episode_index(root, info)
    chunks_size = int(info["chunks_size"])
    _delete_newer(root / "data", ".parquet", index.data_file.max(initial=-1), chunks_size)
    for key, files in index.video_file.items():
        _delete_newer(root / "videos" / key, ".mp4", files.max(initial=-1), chunks_size)
    tasks = metadata.load_tasks(root)
    if len(tasks) > int(info["total_tasks"]):
        table = layout.tasks_table(tasks[: int(info["total_tasks"])])
        replace_file(root / layout.TASKS_PATH, parquet_bytes(table))
    _restore_statistics(root, info)
    _trim_log(root, int(info["total_episodes"]))
    return index


def _trim_episode_rows(root: Path, total: int) -> None:
    for path in reversed(metadata.episode_files(root)):
        rows = metadata.read_table(path)
        kept = rows.filter(pc.less(rows["episode_index"], total))
        if len(kept) == len(rows):
            return
        if len(kept):
            replace_file(path, parquet_bytes(kept))
        else:
            path.unlink()


def _delete_newer(folder: Path, suffix: str, last: int, chunks_size: int) -> None:
    """Delete chunk-*/file-* beyond flat index `last`."""
    for path in folder.glob(f"chunk-*/file-*{suffix}"):
        chunk, file = (int(part.split("-")[1]) for part in (path.parent.name, path.stem))
        if chunk * chunks_size + file > last:
            path.unlink()


def _restore_statistics(root: Path, info: dict[str, Any]) -> None:
    """Aggregate `stats.json` anew if it does not count the frames of `info.json`."""
    statistics = metadata.load_statistics(root)
    counted = int(statistics["index"]["count"][0]) if "index" in statistics else 0
    if counted == int(info["total_frames"]):
        return
    restored: Statistics = {}
    for path in metadata.episode_files(root):
        for row in metadata.read_table(path).to_pylist():
            restored = aggregate_all(restored, _row_statistics(row))
    replace_file(root / layout.STATISTICS_PATH, json.dumps(to_jsonable(restored)).encode())


def _row_statistics(row: dict[str, Any]) -> Statistics:
    data: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if name.startswith("stats/") and value is not None:
            key, statistic = name.removeprefix("stats/").rsplit("/", 1)
            data.setdefault(key, {})[statistic] = value
    return from_jsonable(data)


def _trim_log(root: Path, total: int) -> None:
    """Drop a half-written last line and the lines of episodes that were not committed."""
    path = root / layout.COLLECTION_LOG_PATH
    if not path.is_file():
        return
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines, 1) if _belongs(path, number, line, total)]
    if b"".join(kept) != text:
        replace_file(path, b"".join(kept))


def _belongs(path: Path, number: int, line: bytes, total: int) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        episode = json.loads(line).get("episode_index")
    except (ValueError, AttributeError) as error:
        raise DatasetError(f"{path}, line {number}: not an attempt ({error})") from error
    return episode is None or episode < total
