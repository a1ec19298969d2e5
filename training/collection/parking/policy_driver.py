"""A trained policy at the wheel during roll-ins."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.vehicle import CONTROL_RATE_HZ
from helmsight.envs.spec import EmbodimentSpec

# A car farther than this from its target (m) that got no farther than this (m) in so long (s) is
# stuck: it stands, or moves to and fro.
ON_ITS_WAY, STUCK_WITHIN, STUCK_AFTER = 0.8, 0.3, 4.0


class PolicyDriver:
    """Drives an environment by a policy; makes images only where the policy looks at them."""

    def __init__(self, folder: Path, embodiment: EmbodimentSpec) -> None:
        """Load the policy. Raises ValueError where it was trained for another robot."""
        import torch

        from helmsight.policies.base import load_policy

        torch.set_num_threads(1)
        self._policy = load_policy(folder)
        self._policy.stay_where_stuck()  # there the expert takes over and is recorded
        keys = self._policy.observation_keys()
        self._looks = any(
            key.startswith(("observation.images.", "observation.depth.")) for key in keys
        )
        self._reads_label = "observation.birds_eye" in keys
        differences = self._policy.embodiment.differences(embodiment)
        if not self._looks:
            differences = [line for line in differences if not line.startswith("cameras")]
        if differences:
            raise ValueError(
                f"the policy in {folder} was trained for another robot: {'; '.join(differences)}"
            )

    def drive(
        self, environment: ParkingEnvironment, periods: int
    ) -> tuple[list[NDArray[np.float32]], str | None]:
        """Drive for `periods`, until the car is stuck, or until the episode ends.

        Return the actions and, of an episode that ended, its outcome.
        """
        self._policy.reset()
        actions: list[NDArray[np.float32]] = []
        places: deque[tuple[float, float]] = deque(maxlen=round(STUCK_AFTER * CONTROL_RATE_HZ))
        for _ in range(periods):
            if _is_stuck(environment, places):
                break
            action = self._decide(environment)
            actions.append(action)
            _, terminated, truncated, info = environment.advance(action)
            if terminated or truncated:
                return actions, info["episode_metrics"]["outcome"]
        return actions, None

    def _decide(self, environment: ParkingEnvironment) -> NDArray[np.float32]:
        batch = {}
        if self._policy.needs_observation:
            batch = self._policy.to_batch(self._observe(environment))
        action = self._policy.select_action(batch)[0].float().cpu().numpy()  # [1, 3] -> [3]
        space = environment.action_space
        return np.clip(action, space.low, space.high)  # type: ignore[attr-defined]

    def _observe(self, environment: ParkingEnvironment) -> dict[str, NDArray[Any]]:
        observation = environment.observe() if self._looks else environment.observe_state()
        if self._reads_label:  # of a privileged policy, whatever the environment's own option says
            observation["observation.birds_eye"] = environment.birds_eye_label()
        return observation


def _is_stuck(environment: ParkingEnvironment, places: deque[tuple[float, float]]) -> bool:
    """Whether the car is stuck at the end of its last `places`, to which this one is added."""
    car, target = environment.vehicle_state().pose, environment.scenario.target
    before = places.maxlen == len(places)
    farthest = max((math.hypot(car.x - x, car.y - y) for x, y in places), default=0.0)
    places.append((car.x, car.y))
    away = math.hypot(car.x - target.x, car.y - target.y)
    return before and away > ON_ITS_WAY and farthest < STUCK_WITHIN
