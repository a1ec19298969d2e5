"""Batches in an order that is a pure function of (seed, epoch), read ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from helmsight.training.dataset.windows import Windows

Batch = dict[str, Tensor]
Transform = Callable[[Batch, int], Batch]


def split_episodes(
    episodes: int, validation_fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Whole episodes for training and for validation, drawn by the seed alone.

    With a fraction above 0 and two or more episodes, each side gets at least one.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must lie in [0, 1), got {validation_fraction}")
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(
        episodes
    )
    held_out = round(episodes * validation_fraction)
    if validation_fraction > 0.0 and episodes > 1:
        held_out = min(max(1, held_out), episodes - 1)
    return sorted(order[held_out:].tolist()), sorted(order[:held_out].tolist())


class BatchLoader:
    """Endless shuffled batches over several data sets' windows.

    Each epoch is one permutation of all windows, cut into whole batches; what is left over waits
    for the next epoch's draw. Step s always gives the same batch, so a run resumes anywhere.
    `transform(batch, step)` runs in the reading threads.
    """

    def __init__(
        self,
        windows: Sequence[Windows],
        batch_size: int,
        seed: int,
        threads: int = 1,
        read_ahead: int = 4,
        transform: Transform | None = None,
    ) -> None:
        self.windows = list(windows)
        self.batch_size, self.seed = batch_size, seed
        self.threads, self.read_ahead, self.transform = threads, read_ahead, transform
        self.first = np.concatenate([[0], np.cumsum([len(part) for part in self.windows])])
        if len(self) < batch_size:
            raise ValueError(
                f"batch_size is {batch_size}, but there are only {len(self)} training windows; "
                "collect more episodes or take a smaller batch"
            )

    def __len__(self) -> int:
        return int(self.first[-1])

    @property
    def batches_per_epoch(self) -> int:
        return len(self) // self.batch_size

    def positions(self, step: int) -> NDArray[np.int64]:
        """Window positions [batch_size] of a step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        order = self._order(epoch)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_epoch", None) != epoch:
            sequence = np.random.SeedSequence(self.seed, spawn_key=(2, epoch))
            self._permutation = np.random.default_rng(sequence).permutation(len(self))
            self._epoch = epoch
        return self._permutation

    def batch(self, positions: NDArray[np.int64]) -> Batch:
        """The windows at global positions [B], data set by data set."""
        parts = []
        for index, windows in enumerate(self.windows):
            mine = (positions >= self.first[index]) & (positions < self.first[index + 1])
            if mine.any():
                parts.append(windows.batch(positions[mine] - self.first[index]))
        if len(parts) == 1:
            return parts[0]
        import torch

        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def iterate(self, start_step: int = 0) -> Generator[Batch, None, None]:
        """Batches from `start_step` on, without end, `read_ahead` of them prepared by threads."""

        def make(step: int, positions: NDArray[np.int64]) -> Batch:
            batch = self.batch(positions)
            return self.transform(batch, step) if self.transform else batch

        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            step = start_step
            try:
                while True:
                    while len(waiting) < self.read_ahead:
                        # Positions are drawn here, in one thread; only reading is parallel.
                        waiting.append(pool.submit(make, step, self.positions(step)))
                        step += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
