"""Scaling between physical units and the range that a network works in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helmsight.envs.spec import VectorSpec


class Standardiser(nn.Module):
    """x -> (x - mean) / std with the data set's statistics, which travel in the weights file."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        # A column that never moves carries no information; it must not be blown up either.
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).clamp(min=1e-3))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


class RangeScaler(nn.Module):
    """Maps each entry's range [low, high] to [-1, 1] and back."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: VectorSpec) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(spec.low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.high, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """Physical units to [-1, 1]."""
        return 2.0 * (values - self.low) / (self.high - self.low) - 1.0

    def inverse(self, scaled: Tensor) -> Tensor:
        """[-1, 1] to physical units; what lies outside is clipped to the range."""
        values = self.low + (scaled + 1.0) * 0.5 * (self.high - self.low)
        return torch.minimum(torch.maximum(values, self.low), self.high)
