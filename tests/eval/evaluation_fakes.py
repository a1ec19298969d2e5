"""A cheap environment with the parking environment's contract, and policies to drive it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import make_scenario

OUTCOMES = ("TSR", "TSR", "CR", "TSR", "TR", "TFR")
FAKE_ENV = "evaluation_fakes:helmsight-tests/Fake-v0"


class State(NamedTuple):
    pose: Pose


class FakeEnvironment(gymnasium.Env):
    """Drives straight for 5 + index % 3 steps; the outcome cycles with the index."""

    def __init__(
        self,
        family: str = "standard",
        split: str = "test",
        approach: str = "reverse",
        broken_episode: int = -1,
        deadly_episode: int = -1,
        interrupt_episode: int = -1,
        target: str = "tracked",
        simulator: str = "fake",
    ) -> None:
        self.family, self.split, self.approach = family, split, approach
        self.broken_episode, self.deadly_episode = broken_episode, deadly_episode
        self.interrupt_episode = interrupt_episode
        self.observations_made = 0
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "observation.images.front": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8),
                "observation.state": gymnasium.spaces.Box(-100.0, 100.0, (8,), np.float32),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.index = (options or {})["episode"]
        self.scenario = make_scenario(self.family, self.split, self.index, self.approach)
        self.pose, self.steps = self.scenario.start, 0
        return self.observe(), {"task": "park", "is_success": False}

    def observe(self) -> dict[str, Any]:
        self.observations_made += 1
        image = np.full((16, 16, 3), (self.index + self.steps) % 256, np.uint8)
        state = np.zeros(8, np.float32)
        state[5:8] = self.pose.relative(self.scenario.target)
        return {"observation.images.front": image, "observation.state": state}

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        if self.index == self.broken_episode and self.steps == 2:
            raise RuntimeError("the simulator lost its window")
        if self.index == self.deadly_episode:
            os._exit(9)
        if self.index == self.interrupt_episode:
            raise KeyboardInterrupt
        self.pose = self.pose.transform(Pose(float(action[0]), 0.0, 0.01))
        self.steps += 1
        done = self.steps >= 5 + self.index % 3
        info: dict[str, Any] = {"task": "park", "is_success": False}
        if done:
            outcome = OUTCOMES[self.index % len(OUTCOMES)]
            info["is_success"] = outcome == "TSR"
            info["episode_metrics"] = {
                "outcome": outcome,
                "position_error": np.float64(0.1 * self.index),
                "orientation_error": 2.0,
                "parking_time": 0.1 * self.steps,
                "steps": self.steps,
                "collided_with": "car" if outcome == "CR" else None,
            }
        return 0.0, done, False, info

    def step(self, action: np.ndarray) -> Any:
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info

    def vehicle_state(self) -> State:
        return State(self.pose)

    def birds_eye_label(self) -> np.ndarray:
        label = np.zeros((200, 200), np.uint8)
        label[40:60, 80:120] = 2
        return label


gymnasium.register("helmsight-tests/Fake-v0", entry_point=FakeEnvironment)


class ChunkPolicy:
    """Decides on two actions at a time from the image, as a chunked policy does."""

    def __init__(self) -> None:
        self.queue: list[torch.Tensor] = []
        self.decisions = 0
        self.bound: list[Any] = []

    @property
    def needs_observation(self) -> bool:
        return not self.queue

    def bind(self, environment: Any) -> None:
        self.bound.append(environment)

    def reset(self) -> None:
        self.queue = []

    def select_action(self, observation: dict[str, Any]) -> torch.Tensor:
        if not self.queue:
            self.decisions += 1
            image = observation["observation.images.front"]
            assert image.shape == (1, 16, 16, 3)
            first = image.float().mean() / 255.0
            self.queue = [torch.stack([first, first, first])[None]] * 2
        return self.queue.pop(0)

    def diagnostics(self) -> dict[str, np.ndarray]:
        return {
            "attention.observation.images.front": np.eye(4, dtype=np.float32),
            "attention.birds_eye": np.eye(16, dtype=np.float32),
            "birds_eye": np.ones((200, 200), np.uint8),
            "waypoints": np.array([[i, 0.1 * i, 0.0] for i in range(1, 5)], np.float32),
        }


@dataclass(frozen=True)
class FakeSource:
    """A `PolicySource` whose hash the test chooses."""

    sha256: str = "0123456789abcdef"

    def load(self, device: str) -> ChunkPolicy:
        return ChunkPolicy()

    def provenance(self) -> dict[str, Any]:
        return {"policy": "fake", "sha256": self.sha256}
