"""How long a run lasts and what the learning rate is at each moment of it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """The end of a run: a number of optimiser steps, minutes of wall-clock time, or both.

    With both, the run ends at whichever comes first. A run bounded by minutes depends on the speed
    of the machine, so its schedule, and with it every weight, differs from run to run; only a run
    bounded by steps alone can be repeated bit for bit.
    """

    max_steps: int | None = None
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError("give max_steps, max_minutes or both: without one a run never ends")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")
        if self.max_minutes is not None and not self.max_minutes > 0.0:
            raise ValueError(f"max_minutes must be above 0, got {self.max_minutes}")

    def spent(self, step: int, elapsed_seconds: float) -> float:
        """Share of the budget used after `step` steps and `elapsed_seconds`, in [0, 1]."""
        by_steps = step / self.max_steps if self.max_steps is not None else 0.0
        minutes = elapsed_seconds / 60.0
        by_minutes = minutes / self.max_minutes if self.max_minutes is not None else 0.0
        return min(1.0, max(by_steps, by_minutes))


@dataclass(frozen=True)
class LearningRateSchedule:
    """Linear warm-up over steps, then half a cosine over the spent share of the budget.

    Loshchilov and Hutter, "SGDR" (2017), without restarts. The learning rate ends at
    `final_fraction` of `peak`.
    """

    peak: float
    warmup_steps: int = 0
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not self.peak > 0.0:
            raise ValueError(f"learning_rate must be above 0, got {self.peak}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, got {self.warmup_steps}")
        if not 0.0 <= self.final_fraction <= 1.0:
            raise ValueError(f"final_fraction must lie in [0, 1], got {self.final_fraction}")

    def at(self, step: int, spent: float) -> float:
        """Learning rate of the step after `step` finished ones, with `spent` of the budget used."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * spent))
        return self.peak * warmup * (self.final_fraction + (1.0 - self.final_fraction) * cosine)
