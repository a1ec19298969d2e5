"""Drivers of the arm for tests: a chunked policy that looks, and one that breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

CHUNK = 8


class ReachingPolicy:
    """Decides on eight actions at a time from both pictures, as a chunked policy does."""

    def __init__(self) -> None:
        self.queue: list[torch.Tensor] = []
        self.tasks: list[str] = []
        self.brightness: list[float] = []

    @property
    def needs_observation(self) -> bool:
        return not self.queue

    def reset(self) -> None:
        self.queue = []

    def observation_keys(self) -> list[str]:
        return ["observation.images.agentview", "observation.images.eye_in_hand"]

    def select_action(self, observation: dict[str, Any]) -> torch.Tensor:
        if not self.queue:
            self.tasks.append(observation["task"][0])
            pictures = [observation[key] for key in self.observation_keys()]
            assert all(picture.dtype == torch.uint8 for picture in pictures)
            self.brightness.append(float(pictures[0].float().mean()))
            down = torch.tensor([[0.0, 0.0, -0.3, 0.0, 0.0, 0.0, -1.0]])
            self.queue = [down] * CHUNK
        return self.queue.pop(0)

    def diagnostics(self) -> dict[str, np.ndarray]:
        return {"attention.observation.images.agentview": np.eye(4, dtype=np.float32)}


@dataclass(frozen=True)
class ArmSource:
    """A `PolicySource` that always gives the same policy, so that a test can ask it."""

    policy: ReachingPolicy

    def load(self, device: str) -> ReachingPolicy:
        return self.policy

    def provenance(self) -> dict[str, Any]:
        return {"policy": "reaching", "sha256": "ab" * 32}
