"""Training windows: a frame, the columns around it, and the pictures of that frame alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from helmsight.training.cores import available_cores
from helmsight.training.dataset.format import BIRDS_EYE_GREY_STEP
from helmsight.training.dataset.frame_cache import FrameCache, open_frame_cache
from helmsight.training.dataset.reader import LeRobotDataset

BIRDS_EYE_KEY = "observation.birds_eye"
DEPTH_PREFIX = "observation.depth."
Batch = dict[str, torch.Tensor]


class Windows:
    """The windows of some episodes of a data set, one a frame (or one every `frame_stride`).

    window_offsets: per key the frames wanted, relative to the window's own, e.g.
    {"action": [0, 1, 2, 3]}. Such a key gets a time axis and `<key>_is_pad`; an offset beyond the
    episode's end (or before its start) repeats the last (first) frame and is marked there. The
    other `keys` are taken at the window's own frame, without a time axis.
    frames: the frame cache; opened, and built where needed, if not given and a picture is wanted.
    tasks: the instructions that `task_index`, and any other column of instructions, counts where
    several data sets are read together; the data set's own without.
    """

    def __init__(
        self,
        dataset: LeRobotDataset,
        window_offsets: dict[str, list[int]],
        keys: Sequence[str],
        episodes: Sequence[int],
        frame_stride: int = 1,
        frames: FrameCache | None = None,
        tasks: Sequence[str] | None = None,
    ) -> None:
        self.dataset = dataset
        self.window_offsets = {
            key: np.asarray(offsets, np.int64) for key, offsets in window_offsets.items()
        }
        self.keys = list(dict.fromkeys([*keys, *window_offsets]))
        features = {key: dataset.feature(key) for key in self.keys}
        self._video_keys = [key for key in self.keys if features[key]["dtype"] == "video"]
        self._image_keys = [key for key in self.keys if features[key]["dtype"] == "image"]
        pictures = {*self._video_keys, *self._image_keys}
        self._column_keys = [key for key in self.keys if key not in pictures]
        self._check_offsets(frame_stride)
        dataset.load_columns(self._column_keys)
        if frames is None and pictures:
            frames = open_frame_cache(dataset, frame_stride, workers=available_cores())
        self.frames = frames
        # Per column of instructions: the index in `tasks` of each number; of -1, the last entry.
        self._task_of: dict[str, NDArray[np.int64]] = {}
        if tasks is not None:
            for key, named in dataset.instruction_columns.items():
                self._task_of[key] = np.array([*map(tasks.index, named), -1], np.int64)
        self._frame, self._first, self._last = self._positions(episodes, frame_stride)

    def _check_offsets(self, frame_stride: int) -> None:
        for key, offsets in self.window_offsets.items():
            if offsets.ndim != 1 or not offsets.size:
                raise ValueError(f"window_offsets[{key!r}] must be a list of integers, not empty")
            if self.dataset.features[key]["dtype"] in ("video", "image") and frame_stride != 1:
                raise ValueError(
                    f"window_offsets[{key!r}] asks for several pictures, which needs "
                    f"frame_stride=1, got {frame_stride}"
                )

    def _positions(
        self, episodes: Sequence[int], frame_stride: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Frame of each window, and the first and last frame of its episode."""
        chosen = np.asarray(episodes, np.int64)
        known = self.dataset.num_episodes
        if chosen.size and (chosen.min() < 0 or chosen.max() >= known):
            raise ValueError(
                f"episodes must lie in 0 to {known - 1}, got {chosen.min()} to {chosen.max()}"
            )
        bounds = self.dataset.episode_bounds[chosen]
        frames = [np.arange(first, end, frame_stride) for first, end in bounds]
        counts = [len(entry) for entry in frames]
        empty = np.empty(0, np.int64)
        return (
            np.concatenate(frames) if frames else empty,
            np.repeat(bounds[:, 0], counts),
            np.repeat(bounds[:, 1] - 1, counts),
        )

    def __len__(self) -> int:
        return len(self._frame)

    def batch(self, positions: ArrayLike) -> Batch:
        """The windows `positions` [B], each in 0 to len - 1, as tensors.

        Pictures uint8 [B, H, W, 3]; columns [B, n] or [B], with offsets [B, J, n] or [B, J] and
        `<key>_is_pad` bool [B, J]; depth grids int32 [B, rows, columns] in millimetres;
        `observation.birds_eye` uint8 class ids [B, H, W]; `task_index` int64 [B].
        """
        chosen = np.asarray(positions, np.int64)
        batch: Batch = {}
        for key in self._column_keys:
            frames, is_pad = self._frames_of(key, chosen)
            values = self.dataset.columns(key)[frames]
            if key in self._task_of:
                values = self._task_of[key][values]
            batch[key] = _column_tensor(key, values, frames.ndim)
            if is_pad is not None:
                batch[f"{key}_is_pad"] = torch.from_numpy(is_pad)
        batch.update(self._video_tensors(chosen))
        for key in self._image_keys:
            frames, is_pad = self._frames_of(key, chosen)
            batch[key] = self._image_tensor(key, frames)
            if is_pad is not None:
                batch[f"{key}_is_pad"] = torch.from_numpy(is_pad)
        return {key: batch[key] for key in self._ordered(batch)}

    def _ordered(self, batch: Batch) -> list[str]:
        names = [name for key in self.keys for name in (key, f"{key}_is_pad")]
        return [name for name in names if name in batch]

    def _frames_of(
        self, key: str, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Frame indices of a key, [B] or, with offsets, [B, J] and which of them are padding."""
        if key not in self.window_offsets:
            return self._frame[positions], None
        wanted = self._frame[positions][:, None] + self.window_offsets[key]
        first, last = self._first[positions][:, None], self._last[positions][:, None]
        frames = np.clip(wanted, first, last)
        return frames, frames != wanted

    def _video_tensors(self, positions: NDArray[np.int64]) -> Batch:
        """All cameras that share their offsets are read together, one tile a frame."""
        batch: Batch = {}
        groups: dict[tuple[int, ...] | None, list[str]] = {}
        for key in self._video_keys:
            offsets = self.window_offsets.get(key)
            groups.setdefault(None if offsets is None else tuple(offsets), []).append(key)
        for keys in groups.values():
            assert self.frames is not None
            keys = sorted(keys, key=self.frames.video_keys.index)
            frames, is_pad = self._frames_of(keys[0], positions)
            pictures = self.frames.read_videos(keys, self.frames.rows_of(frames.reshape(-1)))
            for camera, key in enumerate(keys):
                picture = pictures[:, camera]  # a view: no copy of the batch
                batch[key] = torch.from_numpy(picture.reshape(*frames.shape, *picture.shape[1:]))
                if is_pad is not None:
                    batch[f"{key}_is_pad"] = torch.from_numpy(is_pad)
        return batch

    def _image_tensor(self, key: str, frames: NDArray[np.int64]) -> torch.Tensor:
        assert self.frames is not None
        pictures = self.frames.read_images(key, self.frames.rows_of(frames.reshape(-1)))
        pictures = pictures.reshape(*frames.shape, *pictures.shape[1:])
        if key == BIRDS_EYE_KEY:
            return torch.from_numpy(pictures[..., 0] // np.uint8(BIRDS_EYE_GREY_STEP))
        return torch.from_numpy(pictures)


def _column_tensor(key: str, values: NDArray[Any], leading: int) -> torch.Tensor:
    """Column values as a tensor; `leading` is the number of axes before the feature's own."""
    if values.dtype == np.uint16:
        values = values.astype(np.int32)  # torch computes with few unsigned types
    elif values.dtype in (np.uint32, np.uint64):
        values = values.astype(np.int64)
    if key.startswith(DEPTH_PREFIX) and values.ndim == leading + 1:
        side = math.isqrt(values.shape[-1])
        if side * side == values.shape[-1]:
            values = values.reshape(*values.shape[:-1], side, side)
    return torch.from_numpy(values)
