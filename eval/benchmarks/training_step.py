"""What control-aided attention costs: a training step with it over one without."""

from __future__ import annotations

import torch
from torch import Tensor

from helmsight.eval.benchmarks.measurement import Clock, Measurement, Report, measurement
from helmsight.policies.base import Policy

_WARM_UP_STEPS = 3


class TrainingStep:
    """Forward and backward pass, clipping and AdamW on one batch, over and over."""

    def __init__(self, policy: Policy, batch: dict[str, Tensor]) -> None:
        self.policy, self.batch = policy.train(), batch
        self.optimizer = torch.optim.AdamW(policy.parameters(), 1e-4, fused=True)

    def take(self) -> float:
        """One step; its seconds."""
        with Clock() as clock:
            loss, _ = self.policy(self.batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            loss.item()
        return clock.seconds


def measure_step_time_ratio(
    with_attention: Policy,
    without: Policy,
    batch: dict[str, Tensor],
    pairs: int,
    report: Report,
) -> dict[str, Measurement]:
    """Ratio of the two step times, and both, over `pairs` of steps taken in turns.

    The two follow each other directly and change places from pair to pair, so that whatever slows
    the machine down slows both.
    """
    aided, plain = TrainingStep(with_attention, batch), TrainingStep(without, batch)
    for _ in range(_WARM_UP_STEPS):
        aided.take(), plain.take()
    seconds: list[tuple[float, float]] = []
    with Clock() as total:
        for done in range(pairs):
            if done % 2:
                last = plain.take()
                seconds.append((aided.take(), last))
            else:
                seconds.append((aided.take(), plain.take()))
            report(done + 1, pairs)
    size = len(next(iter(batch.values())))
    how = f"one batch of {size}, {torch.get_num_threads()} threads, the two in turns"
    cores = total.cores_used
    return {
        "step_time_ratio": measurement([a / b for a, b in seconds], "x", cores, how),
        "step_ms_with_attention": measurement([1e3 * a for a, _ in seconds], "ms", cores, how),
        "step_ms_without": measurement([1e3 * b for _, b in seconds], "ms", cores, how),
    }
