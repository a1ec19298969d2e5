"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps `average <- decay * average + (1 - decay) * weights` beside a module.

    The decay grows as (1 + n) / (10 + n) with the number of updates n until it reaches `decay`,
    so that a short run's average is not held back by its random first weights. Buffers are copied,
    not averaged. Make it when the module is on its device: it keeps hold of the parameters.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"the decay of the average must lie in [0, 1), got {decay}")
        self.decay = decay
        self._module = module
        self._average = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        # Looked up once: building a state dict of many modules takes longer than averaging it.
        self._parameters = dict(module.named_parameters(remove_duplicate=False))
        self._averaged = [self._average[name] for name in self._parameters]
        self._copied = [name for name in self._average if name not in self._parameters]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Fold the module's present weights in; `updates` counts the updates made before."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self._averaged, list(self._parameters.values()), 1.0 - decay)
        if self._copied:
            current = self._module.state_dict()
            for name in self._copied:
                self._average[name].copy_(current[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the module's own names; tensors are shared, not copied."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over saved averages. Raises ValueError naming missing and unexpected tensors."""
        missing = sorted(self._average.keys() - state.keys())
        unexpected = sorted(state.keys() - self._average.keys())
        if missing or unexpected:
            raise ValueError(
                f"the averaged weights do not fit: missing {missing}, unexpected {unexpected}"
            )
        for name, tensor in self._average.items():
            tensor.copy_(state[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module holds the averaged weights inside this context, its own again after it."""
        own = {name: tensor.clone() for name, tensor in self._module.state_dict().items()}
        self._module.load_state_dict(self._average)
        try:
            yield
        finally:
            self._module.load_state_dict(own)
