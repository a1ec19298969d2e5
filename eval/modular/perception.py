"""Where the modular driver's picture of its surroundings comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.envs.parking.birds_eye import OBSTACLE
from helmsight.envs.spec import EmbodimentSpec

LABEL_KEY = "observation.birds_eye"
TRUE_LABEL = "label"


class Perception(Protocol):
    """Observation to occupancy around the car.

    embodiment: the robot that it was trained for, None where it fits any.
    """

    embodiment: EmbodimentSpec | None

    def observation_keys(self) -> list[str]:
        """What it looks at."""

    def obstacle_probability(self, observation: dict[str, Any]) -> NDArray[np.float32]:
        """How probably each cell [n, n] over +-10 m in the vehicle frame is an obstacle.

        Row 0 is farthest forward, column 0 farthest left; `observation` is a batch of one.
        """


class LabelPerception:
    """The true label: perfect perception, the bound of every other one."""

    embodiment: EmbodimentSpec | None = None

    def observation_keys(self) -> list[str]:
        return [LABEL_KEY]

    def obstacle_probability(self, observation: dict[str, Any]) -> NDArray[np.float32]:
        if LABEL_KEY not in observation:
            raise ValueError(
                f"the true label is looked at, but the observation has no {LABEL_KEY!r}: make the "
                "environment with birds_eye=True"
            )
        label = observation[LABEL_KEY][0]
        return np.asarray((label == OBSTACLE).cpu().numpy(), np.float32)


class CameraPerception:
    """What the semantic head of a trained camera policy makes of the cameras."""

    def __init__(self, checkpoint: Path | str, device: str) -> None:
        from helmsight.policies.base import load_policy
        from helmsight.policies.parking import ParkingPolicy

        policy = load_policy(checkpoint)
        if not isinstance(policy, ParkingPolicy) or not policy.sees_cameras:
            raise ValueError(
                f"{checkpoint} cannot perceive for policy=modular: it holds no parking policy that "
                f"sees cameras (for the true label: checkpoint={TRUE_LABEL})"
            )
        self._policy = policy.to(device).eval()
        self.embodiment: EmbodimentSpec | None = policy.embodiment

    def observation_keys(self) -> list[str]:
        return self._policy.observation_keys()

    @torch.no_grad()
    def obstacle_probability(self, observation: dict[str, Any]) -> NDArray[np.float32]:
        classes = self._policy.predict_semantics(observation)  # [1, 3, 64, 64]
        return np.asarray(classes[0, OBSTACLE].cpu().numpy(), np.float32)
