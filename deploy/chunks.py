"""Chunks of actions in time: which action is due now, by the age of what it was decided on.

Action k of a chunk belongs to the control period that begins k periods after its observation was
taken. So a chunk that comes late starts in its middle, and where several chunks speak about the
same period they are merged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Chunk:
    """Actions [K, A]; times are `time.monotonic()` in seconds."""

    actions: NDArray[np.float32]
    observed_at: float
    arrived_at: float
    period: float

    @property
    def ends_at(self) -> float:
        """When its last action is over."""
        return self.observed_at + len(self.actions) * self.period

    def action(self, now: float) -> NDArray[np.float32]:
        """The action [A] of the period that `now` lies in."""
        # A little more than rounding errors: a tick on the boundary belongs to the later period.
        index = int((now - self.observed_at) / self.period + 1e-6)
        return self.actions[min(max(index, 0), len(self.actions) - 1)]


Merge = Callable[[Sequence[Chunk], float], NDArray[np.float32]]
"""Chunks that cover `now`, the one of the oldest observation first -> action [A]."""


def latest(chunks: Sequence[Chunk], now: float) -> NDArray[np.float32]:
    """What was decided on the newest observation."""
    return chunks[-1].action(now)


def linear_blend(chunks: Sequence[Chunk], now: float) -> NDArray[np.float32]:
    """From each chunk into the next: its share grows linearly while the two overlap."""
    action = chunks[0].action(now)
    for older, newer in pairwise(chunks):
        overlap = older.ends_at - newer.arrived_at
        share = min(max((now - newer.arrived_at) / overlap, 0.0), 1.0) if overlap > 0.0 else 1.0
        action = (1.0 - share) * action + share * newer.action(now)
    return action.astype(np.float32)


def temporal_ensemble(
    chunks: Sequence[Chunk], now: float, decay: float = 0.01
) -> NDArray[np.float32]:
    """Mean with weights exp(-decay i), i = 0 for the oldest (ACT, Zhao et al. 2023)."""
    weights = np.exp(-decay * np.arange(len(chunks)))
    actions = np.stack([chunk.action(now) for chunk in chunks])  # [N, A]
    return (weights @ actions / weights.sum()).astype(np.float32)


MERGES: dict[str, Merge] = {
    "latest": latest,
    "linear_blend": linear_blend,
    "temporal_ensemble": temporal_ensemble,
}


class ChunkSchedule:
    """The chunks that still have something to say. Used by one thread.

    max_age: seconds after which an action is not carried out, even if its chunk goes on.
    """

    def __init__(self, merge: str, max_age: float) -> None:
        if merge not in MERGES:
            raise ValueError(f"unknown merge {merge!r}; expected one of {', '.join(MERGES)}")
        self._merge, self._max_age = MERGES[merge], max_age
        self._chunks: deque[Chunk] = deque(maxlen=64)

    def add(self, chunk: Chunk) -> None:
        """Take a chunk; an observation older than that of a chunk already here adds nothing."""
        if not self._chunks or chunk.observed_at > self._chunks[-1].observed_at:
            self._chunks.append(chunk)

    @property
    def newest(self) -> Chunk | None:
        """The chunk of the newest observation that still has something to say."""
        return self._chunks[-1] if self._chunks else None

    def clear(self) -> None:
        """Forget everything: its source is no longer trusted."""
        self._chunks.clear()

    def action(self, now: float) -> NDArray[np.float32] | None:
        """The action [A] that is due, or None when every chunk is used up or too old."""
        while self._chunks and not self._is_valid(self._chunks[0], now):
            self._chunks.popleft()
        valid = [chunk for chunk in self._chunks if self._is_valid(chunk, now)]
        return self._merge(valid, now) if valid else None

    def _is_valid(self, chunk: Chunk, now: float) -> bool:
        return now < chunk.ends_at - 1e-6 and now - chunk.observed_at <= self._max_age
