"""A figure with its spread, and the clock that takes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

# Told how many repeats are done, and of how many.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Measurement:
    """The median of `n` repeats with their quartiles.

    cores_used: processor time over elapsed time of the measuring process. On an idle machine it is
    what the work can use; well below that, other programs held the cores and the figure is too bad.
    how: what was measured, in words.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    cores_used: float
    how: str


def measurement(values: Sequence[float], unit: str, cores_used: float, how: str) -> Measurement:
    """Median and quartiles of repeats. Raises ValueError without any."""
    if not len(values):
        raise ValueError("a measurement needs at least one repeat, got none")
    low, middle, high = np.percentile(values, (25.0, 50.0, 75.0))
    return Measurement(
        float(middle), float(low), float(high), len(values), unit, round(cores_used, 3), how
    )


class Clock:
    """Adds up elapsed and processor time over the blocks that it is entered for."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor_seconds = 0.0

    def __enter__(self) -> Clock:
        self._processor = time.process_time()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._start
        self.processor_seconds += time.process_time() - self._processor

    @property
    def cores_used(self) -> float:
        return self.processor_seconds / max(self.seconds, 1e-9)
