"""How fast training windows come from disk."""

from __future__ import annotations

import time
from pathlib import Path

from helmsight.training.dataset.frame_cache import open_frame_cache
from helmsight.training.dataset.loader import BatchLoader
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.windows import Windows

# Beside the pictures: a chunk of actions and poses along the way, as the parking policy asks.
_OFFSETS = {"action": [0, 1, 2, 3], "simulator.state": [0, 1, 3, 11, 21, 31]}


def measure_windows_per_second(
    root: Path,
    batch_size: int = 32,
    seconds: float = 3.0,
    threads: int = 1,
    frame_stride: int = 1,
    workers: int = 1,
) -> float:
    """Windows a second that `BatchLoader` delivers with all cameras, depth and labels of a set.

    The frame cache is built first with `workers` processes and not timed; the first half second
    warms the page cache and is not timed either.
    """
    dataset = LeRobotDataset(root)
    frames = open_frame_cache(dataset, frame_stride, workers)
    offsets = {key: value for key, value in _OFFSETS.items() if key in dataset.features}
    keys = [key for key in dataset.features if key.startswith("observation.")]
    windows = Windows(
        dataset, offsets, keys, range(dataset.num_episodes), frame_stride, frames=frames
    )
    batches = BatchLoader([windows], batch_size, seed=0, threads=threads).iterate()
    try:
        warm = time.perf_counter() + 0.5
        while time.perf_counter() < warm:
            next(batches)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            next(batches)
            count += batch_size
        return count / (time.perf_counter() - start)
    finally:
        batches.close()
