"""A trained policy behind the server's surface, decided by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.deploy.model import TASK_KEY, ModelError, blank_observation, recalled
from helmsight.policies.base import Policy, load_policy


class TorchModel:
    """Decides with a policy; what it remembers of a robot is kept by whoever asks."""

    def __init__(self, policy: Policy, name: str = "") -> None:
        self._policy = policy.eval()
        self.embodiment = policy.embodiment
        self.observation_keys = tuple(policy.observation_keys())
        self.steps_per_decision = policy.steps_per_decision
        self.name = name or policy.type_name

    def decide(self, observations: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
        """B observations -> actions [B, K, A].

        Raises ModelError, saying why, for an instruction that the policy cannot follow.
        """
        together = {
            key: np.stack([observation[key] for observation in observations])  # [B, ...]
            for key in self.observation_keys
        }
        try:
            with torch.no_grad():
                batch = self._policy.to_batch(together, single=False)
                return self._decide(batch, observations)
        except ValueError as error:  # how policies refuse what they are given
            raise ModelError(str(error)) from error

    def _decide(
        self, batch: dict[str, Any], observations: Sequence[dict[str, Any]]
    ) -> NDArray[np.float32]:
        kept, memory = recalled(observations, self._policy.memory_size)
        before = torch.from_numpy(memory).to(next(self._policy.parameters()).device)
        actions, after = self._policy.decide(batch, before)
        for one, values in zip(kept, after.float().cpu().numpy(), strict=True):
            one.values = values
        return actions.float().cpu().numpy()

    def warm_up(self) -> None:
        """One decision for nothing: what is initialised lazily is not the first robot's to pay."""
        blank = blank_observation(self.embodiment)
        if self._policy.known_instructions:
            blank[TASK_KEY] = np.array(self._policy.known_instructions[0])
        self.decide([blank])


def load_model(checkpoint: str, device: str = "cpu") -> TorchModel:
    """The policy of a checkpoint folder or name, ready to decide. Raises as `load_policy` does."""
    return TorchModel(load_policy(checkpoint).to(device), name=str(checkpoint))
