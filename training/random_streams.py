"""Random numbers of training as a function of (seed, step, process)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


class RandomStreams:
    """The random streams of a step: torch's generators and those that modules own."""

    def __init__(self, seed: int, policy: nn.Module | None = None) -> None:
        modules = policy.modules() if policy is not None else ()
        values = (value for module in modules for value in vars(module).values())
        self._owned = [value for value in values if isinstance(value, torch.Generator)]
        self._seed = seed

    def start(self, step: int, process: int) -> None:
        """Set all of them to where (seed, step, process) says."""
        sequence = np.random.SeedSequence([self._seed, step, process])
        first, *others = sequence.generate_state(1 + len(self._owned), np.uint64)
        torch.manual_seed(int(first))
        for generator, word in zip(self._owned, others, strict=True):
            generator.manual_seed(int(word))


@contextmanager
def isolated_generators() -> Iterator[None]:
    """Give the caller's torch generators back as they were: a run seeds them step by step."""
    with torch.random.fork_rng():
        yield
