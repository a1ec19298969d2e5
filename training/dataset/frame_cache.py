"""Decoded frames in memory-mapped files, so that training reads pictures at the speed of memory.

    cache/frames-stride-<k>/index.json       episodes that are in, and what they looked like
    cache/frames-stride-<k>/videos.i420      one tile a kept frame: all cameras as one I420 picture
    cache/frames-stride-<k>/<key>.u8         one picture a kept frame of each `image` feature

Kept are the frames 0, k, 2k, ... of every episode. A tile [cameras * H * 3 / 2, W] has the Y planes
of all cameras, then all U planes, then all V planes, exactly as the decoder gives them: half the
bytes of RGB, and one call of OpenCV turns it into the RGB pictures of all cameras. The folder can
be deleted at any time; building it again resumes where it was cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from helmsight.training.dataset.files import full_disk_explained, replace_file, sync_file
from helmsight.training.dataset.format import DatasetError, keys_of_dtype
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.file_lock import lock_file_patiently

CACHE_FOLDER = "cache"
_VERSION = 1
_VIDEOS_FILE = "videos.i420"
_SAVE_EVERY_SECONDS = 2.0


class CacheLayout:
    """Where each kept frame of a data set lies in the cache files."""

    def __init__(self, dataset: LeRobotDataset, frame_stride: int) -> None:
        if frame_stride < 1:
            raise ValueError(f"frame_stride must be at least 1, got {frame_stride}")
        self.dataset = dataset
        self.frame_stride = frame_stride
        self.folder = dataset.root / CACHE_FOLDER / f"frames-stride-{frame_stride}"
        self.video_keys = keys_of_dtype(dataset.features, "video")
        self.image_keys = keys_of_dtype(dataset.features, "image")
        sizes = {key: tuple(dataset.features[key]["shape"][:2]) for key in self.video_keys}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the frame cache needs cameras of one size, got {sizes}")
        self.height, self.width = next(iter(sizes.values()), (0, 0))
        if self.height % 2 or self.width % 2:
            raise ValueError(f"the frame cache needs even picture sizes, got {sizes}")
        kept = -(-dataset.episodes.length // frame_stride)
        self.row_start = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)

    @property
    def rows(self) -> int:
        return int(self.row_start[-1])

    @property
    def tile_shape(self) -> tuple[int, int]:
        """[cameras * H * 3 / 2, W]."""
        return len(self.video_keys) * self.height * 3 // 2, self.width

    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row by the name of the file."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.video_keys:
            shapes[_VIDEOS_FILE] = self.tile_shape
        for key in self.image_keys:
            shapes[f"{key}.u8"] = tuple(self.dataset.features[key]["shape"])
        return shapes

    def fingerprint(self, episodes: int) -> str:
        """Changes when the first `episodes` episodes or the pictures' layout change."""
        index = self.dataset.episodes
        digest = hashlib.sha256(json.dumps([_VERSION, self.frame_stride]).encode())
        digest.update(json.dumps([sorted(self.row_shapes().items()), self.video_keys]).encode())
        arrays = [index.length, index.data_file, *index.video_file.values()]
        for array in [*arrays, *index.video_start.values()]:
            digest.update(np.ascontiguousarray(array[:episodes]).tobytes())
        return digest.hexdigest()

    def episodes_done(self) -> int:
        """Episodes that are in the cache; 0 where it belongs to other data."""
        path = self.folder / "index.json"
        try:
            index = json.loads(path.read_text())
            done = int(index["episodes"])
            same = index["fingerprint"] == self.fingerprint(done)
        except (OSError, ValueError, KeyError):
            return 0
        rows = int(self.row_start[min(done, len(self.row_start) - 1)])
        for name, shape in self.row_shapes().items():
            file = self.folder / name
            if not file.is_file() or file.stat().st_size < rows * int(np.prod(shape)):
                return 0
        return done if same and done <= self.dataset.num_episodes else 0

    def save_done(self, episodes: int) -> None:
        """Record that the first `episodes` episodes are in, and on the device."""
        for name in self.row_shapes():
            # Reserved at full size before, a picture that a power cut takes would read as zeros.
            sync_file(self.folder / name)
        index = {"episodes": episodes, "fingerprint": self.fingerprint(episodes)}
        replace_file(self.folder / "index.json", json.dumps(index).encode())

    def allocate(self) -> None:
        """Reserve the disk space: a full disk is an OSError now, not a bus error later."""
        for name, shape in self.row_shapes().items():
            size = self.rows * int(np.prod(shape))
            with (self.folder / name).open("ab") as file:
                if size > file.tell():
                    os.posix_fallocate(file.fileno(), 0, size)

    def write_episode(self, episode: int) -> None:
        """Decode the kept frames of one episode and write them at their place."""
        dataset, row = self.dataset, int(self.row_start[episode])
        offsets = np.arange(0, dataset.episodes.length[episode], self.frame_stride)
        if self.video_keys:
            cameras = [dataset.video_frames(key, episode, offsets) for key in self.video_keys]
            self._write(_VIDEOS_FILE, row, stack_i420(np.stack(cameras, axis=1)))
        for key in self.image_keys:
            self._write(f"{key}.u8", row, dataset.image_frames(key, episode, offsets))

    def _write(self, name: str, row: int, rows: NDArray[np.uint8]) -> None:
        with (self.folder / name).open("r+b") as file:
            file.seek(row * int(np.prod(rows.shape[1:])))
            file.write(np.ascontiguousarray(rows).data)


def stack_i420(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stack cameras [N, C, H * 3 / 2, W] vertically to one I420 picture, [N, C * H * 3 / 2, W]."""
    count, cameras, rows, width = pictures.shape
    luma = rows * 2 // 3 * width
    flat = pictures.reshape(count, cameras, rows * width)
    bounds = [0, luma, luma * 5 // 4, luma * 3 // 2]  # Y, U, V of one camera
    planes = [flat[:, :, first:last].reshape(count, -1) for first, last in pairwise(bounds)]
    return np.concatenate(planes, axis=1).reshape(count, cameras * rows, width)


class FrameCache:
    """The pictures of a data set, kept every `frame_stride` frames, ready to be read."""

    def __init__(self, layout: CacheLayout) -> None:
        """Use `open_frame_cache`."""
        self._layout = layout
        self.video_keys, self.image_keys = layout.video_keys, layout.image_keys
        self.frame_stride = layout.frame_stride
        self._files = {name: self._map(name, s) for name, s in layout.row_shapes().items()}

    def _map(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        if not self._layout.rows:
            return np.empty((0, *shape), np.uint8)
        path = self._layout.folder / name
        return np.memmap(path, np.uint8, "r", shape=(self._layout.rows, *shape))

    def rows_of(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of frame indices (of the whole data set); ValueError if one was not kept."""
        dataset = self._layout.dataset
        episodes = dataset.episode_of(frames)
        steps, left = np.divmod(frames - dataset.episodes.start[episodes], self.frame_stride)
        if left.any():
            raise ValueError(
                f"frame {frames[left != 0][0]} is not in the cache, which keeps every "
                f"{self.frame_stride} frames of an episode"
            )
        return self._layout.row_start[episodes] + steps

    def read_videos(self, keys: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """RGB pictures of the cameras `keys` at `rows` [N]: uint8 [N, cameras, H, W, 3]."""
        height, width = self._layout.height, self._layout.width
        chosen = [self.video_keys.index(key) for key in keys]
        in_order = chosen == list(range(len(self.video_keys)))
        output = np.empty((len(rows), len(keys), height, width, 3), np.uint8)
        tiles = self._files[_VIDEOS_FILE]
        for picture, row in zip(output, rows, strict=True):
            tile = tiles[row] if in_order else self._cameras_of(tiles[row], chosen)
            target = picture.reshape(len(keys) * height, width, 3)
            # Straight from the mapped file into the batch; releases the interpreter lock.
            cv2.cvtColor(tile, cv2.COLOR_YUV2RGB_I420, dst=target)
        return output

    def _cameras_of(self, tile: NDArray[np.uint8], chosen: list[int]) -> NDArray[np.uint8]:
        """The tile of some of the cameras, in the order of `chosen`."""
        flat, cameras = tile.reshape(-1), len(self.video_keys)
        luma = self._layout.height * self._layout.width
        planes, first = [], 0
        for size in (luma, luma // 4, luma // 4):
            plane = flat[first : first + cameras * size].reshape(cameras, size)
            planes.append(plane[chosen].reshape(-1))
            first += cameras * size
        return np.concatenate(planes).reshape(-1, self._layout.width)

    def read_images(self, key: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of an `image` feature at `rows` [N]: uint8 [N, H, W, C]."""
        return np.asarray(self._files[f"{key}.u8"][rows])


def open_frame_cache(
    dataset: LeRobotDataset, frame_stride: int = 1, workers: int = 1, progress: bool = True
) -> FrameCache:
    """Open the frame cache of `dataset`, building what is missing with `workers` processes.

    Episodes that were recorded since it was built are appended; a cache of other data is replaced.
    A complete cache with every frame that this one would keep is used as it is. Two processes
    that ask at once build it once.
    """
    layout = CacheLayout(dataset, frame_stride)
    for stride in range(1, frame_stride + 1):
        candidate = CacheLayout(dataset, stride)
        if frame_stride % stride == 0 and candidate.episodes_done() == dataset.num_episodes:
            return FrameCache(candidate)  # without a lock: the data set may be read-only
    layout.folder.mkdir(parents=True, exist_ok=True)
    with lock_file_patiently(layout.folder / ".lock"):
        done = layout.episodes_done()
        if done < dataset.num_episodes:
            with full_disk_explained(f"the frame cache in {layout.folder} is not complete"):
                _build(layout, done, workers, progress)
    return FrameCache(layout)


def delete_frame_caches(root: Path) -> None:
    """Delete every frame cache of the data set in `root`."""
    shutil.rmtree(root / CACHE_FOLDER, ignore_errors=True)


def _build(layout: CacheLayout, done: int, workers: int, progress: bool) -> None:
    layout.allocate()
    total = layout.dataset.num_episodes
    columns = [TextColumn("decoding frames"), BarColumn(), MofNCompleteColumn()]
    saved = monotonic()
    with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
        task = bar.add_task("", total=total, completed=done)
        try:
            for _ in _written_episodes(layout, range(done, total), workers):
                done += 1
                bar.update(task, completed=done)
                if monotonic() - saved > _SAVE_EVERY_SECONDS:
                    layout.save_done(done)
                    saved = monotonic()
        finally:
            layout.save_done(done)


def _written_episodes(layout: CacheLayout, episodes: range, workers: int) -> Iterator[int]:
    """Write the episodes, yield them in order as they are done."""
    if workers <= 1 or len(episodes) < 2 * workers:
        for episode in episodes:
            layout.write_episode(episode)
            yield episode
        return
    # Spawned, not forked: a fork copies locks that other threads (torch, arrow) may hold.
    with ProcessPoolExecutor(
        workers,
        get_context("spawn"),
        initializer=_start_worker,
        initargs=(layout.dataset.root, layout.frame_stride),
    ) as pool:
        chunk = max(1, min(8, len(episodes) // (4 * workers)))
        try:
            yield from pool.map(_write_in_worker, episodes, chunksize=chunk)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_worker: dict[str, Any] = {}


def _start_worker(root: Path, frame_stride: int) -> None:
    _worker["layout"] = CacheLayout(LeRobotDataset(root), frame_stride)


def _write_in_worker(episode: int) -> int:
    _worker["layout"].write_episode(episode)
    return episode


__all__ = ["CacheLayout", "DatasetError", "FrameCache", "delete_frame_caches", "open_frame_cache"]
