"""Scaling between physical units and the range that a network works in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class QuantileScaler(nn.Module):
    """Maps each entry's 1 % and 99 % quantiles to [-1, 1] and back (OpenVLA-OFT, CogVLA).

    Entries in `unscaled` stay as they are: a gripper's command is -1 or 1 already. An entry that
    rests most of the time has quantiles that say nothing of its motion; its scale is no finer than
    `LEAST_SHARE` of its whole range. Without quantiles in the statistics the whole range counts.
    """

    LEAST_SHARE = 0.25

    center: Tensor
    reach: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        statistics: Mapping[str, Sequence[float]],
        spec: VectorSpec,
        unscaled: Sequence[int] = (),
    ) -> None:
        super().__init__()
        smallest = torch.tensor(statistics["min"], dtype=torch.float32)
        largest = torch.tensor(statistics["max"], dtype=torch.float32)
        below = torch.tensor(statistics.get("q01", statistics["min"]), dtype=torch.float32)
        above = torch.tensor(statistics.get("q99", statistics["max"]), dtype=torch.float32)
        least = self.LEAST_SHARE * (largest - smallest)
        reach = torch.maximum(above - below, least) / 2.0
        center = (below + above) / 2.0
        # An entry that never moves stays at its value.
        reach = torch.where(reach > 1e-6, reach, 1.0)
        for entry in unscaled:
            center[entry], reach[entry] = 0.0, 1.0
        self.register_buffer("center", center)
        self.register_buffer("reach", reach)
        self.register_buffer("low", torch.tensor(spec.low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.high, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """Physical units to about [-1, 1]; what lies beyond the quantiles lies beyond."""
        return (values - self.center) / self.reach

    def inverse(self, scaled: Tensor) -> Tensor:
        """Back to physical units, clipped to the embodiment's range."""
        values = self.center + scaled * self.reach
        return torch.minimum(torch.maximum(values, self.low), self.high)
