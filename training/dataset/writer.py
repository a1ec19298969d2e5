"""The second half of recording: staged episodes join a LeRobotDataset v3.0, one at a time.

After every commit the data set on disk is complete and valid. A commit first writes everything it
will need into a temporary folder (a full disk stops it there, with nothing changed), then renames
the files into place in an order in which a reader never misses what it is promised:
videos, tasks, episode row, data, statistics and at last `info.json`, whose totals make the episode
part of the set. `DatasetWriter.open` removes what a killed commit left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa

from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.dataset import format as layout
from helmsight.training.dataset import metadata, recovery
from helmsight.training.dataset.files import (
    full_disk_explained,
    parquet_bytes,
    replace_file,
    sync_file,
    sync_folder,
    write_synced,
)
from helmsight.training.dataset.format import DatasetError, Features
from helmsight.training.dataset.staging import COLUMNS_FILE, StagedEpisode
from helmsight.training.dataset.statistics import (
    Statistics,
    aggregate_all,
    counter_statistics,
    to_jsonable,
)
from helmsight.training.file_lock import lock_file

# A file of episode rows is rewritten (atomically) until it holds this many.
EPISODES_PER_METADATA_FILE = 32
# Writing 200 columns costs 0.5 ms more an Arrow chunk, merging the chunks 2 ms.
ROW_CHUNKS = 4
STAGING_FOLDER = recovery.STAGING_FOLDER
_LOCK_FILE = ".writer.lock"


class DatasetWriter:
    """Appends episodes to a data set; one writer at a time, guarded by a lock on the folder."""

    def __init__(self, root: Path, lock: IO[str]) -> None:
        """Use `create` or `open`."""
        self.root = root
        self._lock = lock
        self._load()

    @classmethod
    def create(
        cls,
        root: Path,
        features: Features,
        fps: int,
        embodiment: EmbodimentSpec | None,
    ) -> DatasetWriter:
        """Start an empty data set in `root`. Raises ValueError if one is there already."""
        root = Path(root)
        layout.check_features(features)
        if fps < 1 or int(fps) != fps:
            raise ValueError(f"fps must be a positive integer, got {fps}")
        if (root / layout.INFO_PATH).exists():
            raise ValueError(f"{root} already holds a data set; open it to add episodes")
        (root / "meta").mkdir(parents=True, exist_ok=True)
        lock = _acquire_lock(root)
        with full_disk_explained(f"no data set was created in {root}"):
            if embodiment is not None:
                text = json.dumps(embodiment.to_dict(), indent=2)
                replace_file(root / layout.EMBODIMENT_PATH, text.encode())
            robot_type = None if embodiment is None else embodiment.name
            info = layout.new_info(features, int(fps), robot_type)
            replace_file(root / layout.STATISTICS_PATH, b"{}")
            replace_file(root / layout.TASKS_PATH, parquet_bytes(layout.tasks_table([])))
            replace_file(root / layout.INFO_PATH, _json(info))
        return cls(root, lock)

    @classmethod
    def open(cls, root: Path) -> DatasetWriter:
        """Go on with the data set in `root`, after removing leftovers of an unfinished commit."""
        root = Path(root)
        metadata.load_info(root)
        return cls(root, _acquire_lock(root))

    def _load(self) -> None:
        index = recovery.discard_unfinished(self.root)
        self._info = metadata.load_info(self.root)
        self._tasks = metadata.load_tasks(self.root)
        self._statistics: Statistics = metadata.load_statistics(self.root)
        self._features: Features = self._info["features"]
        self._video_keys = layout.keys_of_dtype(self._features, "video")
        self._episodes_schema = layout.episodes_schema(self._features)
        used = [index.data_file, *index.video_file.values()]
        self._next_file = int(max((files.max() for files in used if len(files)), default=-1)) + 1
        self._load_open_metadata_file()
        self.staging_folder.mkdir(exist_ok=True)

    def _load_open_metadata_file(self) -> None:
        """Find the file of episode rows to go on with; another writer's file is left alone."""
        files = metadata.episode_files(self.root)
        self._rows: pa.Table = self._episodes_schema.empty_table()
        self._metadata_file = 0
        if not files:
            return
        last = files[-1]
        chunk, file = (int(part.split("-")[1]) for part in (last.parent.name, last.stem))
        self._metadata_file = chunk * int(self._info["chunks_size"]) + file
        rows = metadata.read_table(last)
        if rows.schema.equals(self._episodes_schema) and len(rows) < EPISODES_PER_METADATA_FILE:
            self._rows = rows
        else:
            self._metadata_file += 1

    @property
    def features(self) -> Features:
        """The features that `stage_episode` needs."""
        return metadata.recorded_features(self._info)

    @property
    def fps(self) -> int:
        return int(self._info["fps"])

    @property
    def embodiment(self) -> EmbodimentSpec | None:
        return metadata.load_embodiment(self.root)

    @property
    def num_episodes(self) -> int:
        return int(self._info["total_episodes"])

    @property
    def num_frames(self) -> int:
        return int(self._info["total_frames"])

    @property
    def staging_folder(self) -> Path:
        """Where workers stage: on the data set's file system, emptied by `open` and `close`."""
        return self.root / STAGING_FOLDER

    def commit(self, staged: StagedEpisode, log: dict[str, Any] | None = None) -> int:
        """Add a staged episode, return its index. `log` goes to `meta/collection.jsonl` with it.

        Returns when the episode is durable. Raises ValueError if the episode was staged for other
        features, OSError if the disk is full; in both cases the data set is as it was before. What
        interrupts it after `info.json` is in place (Ctrl-C, a failing disk) is raised as well, and
        the episode is in the data set: `num_episodes` counts it.
        """
        self._check(staged)
        episode = self.num_episodes
        folder = self.staging_folder / f"commit-{episode:06d}"
        log_path = self.root / layout.COLLECTION_LOG_PATH
        log_size = log_path.stat().st_size if log_path.exists() else 0
        plan: _CommitPlan | None = None
        try:
            with full_disk_explained(self._safety(f"episode {episode} was not added")):
                folder.mkdir(parents=True, exist_ok=True)
                plan = _CommitPlan(self, staged, folder)
                self._append_log({"episode_index": episode, **(log or {})})
                plan.put_in_place()
        except BaseException:
            if plan is not None and self._counts_on_disk(episode):
                self._adopt(plan, staged, folder)  # only the wait for the disk was cut short
                raise
            with contextlib.suppress(OSError):
                os.truncate(log_path, log_size)
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError, DatasetError):
                recovery.discard_unfinished(self.root, staging=False)
            raise
        self._adopt(plan, staged, folder)
        return episode

    def _counts_on_disk(self, episode: int) -> bool:
        """Whether `info.json` makes the episode a part of the data set."""
        try:
            return int(metadata.load_info(self.root)["total_episodes"]) > episode
        except (OSError, DatasetError):
            return False

    def _adopt(self, plan: _CommitPlan, staged: StagedEpisode, folder: Path) -> None:
        """Go on from the data set that the plan has made, and clear what it was made of."""
        self._info, self._tasks = plan.info, plan.tasks
        self._rows, self._metadata_file = plan.rows, plan.metadata_file
        self._statistics, self._next_file = plan.statistics, plan.file + 1
        if len(self._rows) >= EPISODES_PER_METADATA_FILE:
            self._rows = self._episodes_schema.empty_table()
            self._metadata_file += 1
        shutil.rmtree(folder, ignore_errors=True)
        staged.discard()

    def log_attempt(self, log: dict[str, Any]) -> None:
        """Record an attempt that gave no episode in `meta/collection.jsonl`."""
        with full_disk_explained(self._safety("the attempt was not logged")):
            self._append_log({"episode_index": None, **log})

    def close(self) -> None:
        """Let go of the data set; staged episodes that were not committed are deleted."""
        if not self._lock.closed:
            shutil.rmtree(self.staging_folder, ignore_errors=True)
            self._lock.close()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _safety(self, consequence: str) -> str:
        return (
            f"{consequence}; the {self.num_episodes} episodes in {self.root} are safe, free some "
            "space and resume"
        )

    def _check(self, staged: StagedEpisode) -> None:
        if self._lock.closed:
            raise ValueError(f"the writer of {self.root} is closed")
        expected = {key: (f["dtype"], list(f["shape"])) for key, f in self.features.items()}
        given = {key: (f["dtype"], list(f["shape"])) for key, f in staged.features.items()}
        if given != expected:
            names = sorted(
                key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key)
            )
            raise ValueError(f"the staged episode differs from {self.root} in {', '.join(names)}")
        if staged.fps != self.fps:
            raise ValueError(f"the episode has {staged.fps} Hz, the data set {self.fps} Hz")

    def _append_log(self, line: dict[str, Any]) -> None:
        path = self.root / layout.COLLECTION_LOG_PATH
        before = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, before)
            raise


class _CommitPlan:
    """Everything that one commit will rename into place, already written beside it."""

    def __init__(self, writer: DatasetWriter, staged: StagedEpisode, folder: Path) -> None:
        self._writer, self._staged, self._folder = writer, staged, folder
        self.file = writer._next_file
        self.metadata_file = writer._metadata_file
        self.tasks = list(writer._tasks)
        if staged.task not in self.tasks:
            self.tasks.append(staged.task)
        self.task_index = self.tasks.index(staged.task)
        own = self._own_statistics()
        self.statistics = aggregate_all(writer._statistics, own)
        self.rows = pa.concat_tables([writer._rows, self._row(own)])
        if self.rows.column(0).num_chunks >= ROW_CHUNKS:
            self.rows = self.rows.combine_chunks()
        self.info = self._new_info()
        self._moves: list[tuple[Path, Path]] = []
        self._stage_files()

    def _own_statistics(self) -> Statistics:
        writer, length = self._writer, self._staged.length
        return {
            **self._staged.statistics,
            "episode_index": counter_statistics(float(writer.num_episodes), 0.0, length),
            "index": counter_statistics(float(writer.num_frames), 1.0, length),
            "task_index": counter_statistics(float(self.task_index), 0.0, length),
        }

    def _row(self, statistics: Statistics) -> pa.Table:
        writer, length = self._writer, self._staged.length
        position = layout.file_position(self.file, int(writer._info["chunks_size"]))
        own = layout.file_position(self.metadata_file, int(writer._info["chunks_size"]))
        row: dict[str, Any] = {
            "episode_index": writer.num_episodes,
            "tasks": [self._staged.task],
            "length": length,
            "dataset_from_index": writer.num_frames,
            "dataset_to_index": writer.num_frames + length,
        }
        row |= {f"data/{name}": value for name, value in position.items()}
        row |= {f"meta/episodes/{name}": value for name, value in own.items()}
        for key in writer._video_keys:
            row |= {f"videos/{key}/{name}": value for name, value in position.items()}
            row[f"videos/{key}/from_timestamp"] = 0.0
            row[f"videos/{key}/to_timestamp"] = length / writer.fps
        for key, entry in statistics.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in entry.items()}
        arrays = [pa.array([row[field.name]], field.type) for field in writer._episodes_schema]
        return pa.Table.from_arrays(arrays, schema=writer._episodes_schema)

    def _new_info(self) -> dict[str, Any]:
        info = self._writer._info
        total = int(info["total_episodes"]) + 1
        return {
            **info,
            "total_episodes": total,
            "total_frames": int(info["total_frames"]) + self._staged.length,
            "total_tasks": len(self.tasks),
            "splits": {"train": f"0:{total}"},
        }

    def _stage_files(self) -> None:
        info = self._writer._info
        position = layout.file_position(self.file, int(info["chunks_size"]))
        own = layout.file_position(self.metadata_file, int(info["chunks_size"]))
        for key in self._writer._video_keys:
            source = self._staged.folder / f"{key}.mp4"
            if source.stat().st_dev != self._folder.stat().st_dev:
                source = Path(shutil.copy(source, self._folder))
                sync_file(source)
            self._moves.append((source, Path(info["video_path"].format(video_key=key, **position))))
        if len(self.tasks) > len(self._writer._tasks):
            self._add(layout.TASKS_PATH, parquet_bytes(layout.tasks_table(self.tasks)))
        self._add(layout.EPISODES_PATH.format(**own), parquet_bytes(self.rows))
        self._add(info["data_path"].format(**position), parquet_bytes(self._data_table()))
        self._add(layout.STATISTICS_PATH, json.dumps(to_jsonable(self.statistics)).encode())
        self._add(layout.INFO_PATH, _json(self.info))

    def _add(self, target: str, content: bytes | pa.Buffer) -> None:
        # In this thread: on a machine busy with simulation, waking another one costs more.
        source = self._folder / target.replace("/", "-")
        write_synced(source, content)
        self._moves.append((source, Path(target)))

    def _data_table(self) -> pa.Table:
        writer, length = self._writer, self._staged.length
        with pa.memory_map(str(self._staged.folder / COLUMNS_FILE)) as source:
            table = pa.ipc.open_file(source).read_all()
        first = writer.num_frames
        placed = {
            "episode_index": np.full(length, writer.num_episodes),
            "index": np.arange(first, first + length),
            "task_index": np.full(length, self.task_index),
        }
        for name, values in placed.items():
            table = table.append_column(name, pa.array(values, pa.int64()))
        schema = layout.data_schema(writer._features)
        return table.select(schema.names).cast(schema)

    def put_in_place(self) -> None:
        """Rename everything; `info.json` last, when all else is durable."""
        root = self._writer.root
        folders: dict[Path, None] = {}  # a set that keeps its order
        for source, target in self._moves[:-1]:
            path = root / target
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            folders[path.parent] = None
        for folder in folders:
            sync_folder(folder)
        source, target = self._moves[-1]
        source.replace(root / target)
        sync_folder((root / target).parent)


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=2).encode()


def _acquire_lock(root: Path) -> IO[str]:
    """Lock the data set against a second writer."""
    lock = lock_file(root / _LOCK_FILE)
    if lock is None:
        raise ValueError(f"{root}: another process is writing this data set")
    return lock
