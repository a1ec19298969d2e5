"""The moments that are explained: driven in a simulator, or read from a recorded data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import Scenario
from helmsight.eval.rollout import EpisodeRunner, Moment
from helmsight.policies.base import TASK_KEY

BIRDS_EYE_KEY = "observation.birds_eye"


class Frame(NamedTuple):
    """One moment.

    observation: what the policy decides on, by key, without a batch axis. action: what was carried
    out then (physical units). pose: the vehicle's, in any frame that stays in place; None where
    unknown. label: semantic bird's eye [S, S] (class ids as in `envs.parking.birds_eye`), None
    where there is none.
    """

    step: int
    observation: Mapping[str, NDArray[Any]]
    action: NDArray[np.float32]
    pose: Pose | None
    label: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Recording:
    """Moments of one episode in their order, and what is known of it.

    driven: the policy itself drove; else the actions are those of whoever was recorded.
    """

    name: str
    frames: Sequence[Frame]
    rate_hz: int
    driven: bool
    outcome: str = ""


@dataclass
class FrameCollector:
    """A spectator that keeps the moments whose step `wanted` accepts, and every action."""

    runner: EpisodeRunner
    wanted: Callable[[int], bool]
    frames: list[Frame] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)

    def __call__(self, moment: Moment) -> None:
        self.actions.append(moment.action)
        if not self.wanted(moment.step):
            return
        world: Any = self.runner.environment.unwrapped
        observation = moment.observation if moment.observation is not None else world.observe()
        self.frames.append(_frame_of(world, moment.step, observation, moment.action))


def drive(
    runner: EpisodeRunner, episode: int, wanted: Callable[[int], bool]
) -> tuple[Recording, FrameCollector]:
    """Let the runner's policy drive an episode and keep the wanted moments.

    Raises RuntimeError naming the error that an episode ended in.
    """
    collector = FrameCollector(runner, wanted)
    record = runner.run(episode, collector)
    if record.error is not None:
        raise RuntimeError(f"episode {episode} ended in an error: {record.error}")
    name = f"{record.split}/{episode}" if record.split else str(episode)
    world: Any = runner.environment.unwrapped
    rate = int(world.embodiment.rate_hz)
    return Recording(name, collector.frames, rate, True, record.outcome), collector


def drive_again(
    world: Any,
    scenario: Scenario,
    actions: Sequence[NDArray[np.float32]],
    steps: Sequence[int],
) -> list[Frame]:
    """Carry out `actions` in a scenario from its start; the moments at `steps`, ascending.

    In a scenario that differs in its looks alone, these are the same states in other pictures.
    """
    world.restart(options={"scenario": scenario})
    wanted, frames = set(steps), []
    for step, action in enumerate(actions[: max(steps, default=-1) + 1]):
        if step in wanted:
            frames.append(_frame_of(world, step, world.observe(), action))
        world.advance(action)
    return frames


def batch_of(frames: Sequence[Frame], keys: Sequence[str], device: str) -> dict[str, Any]:
    """The observations of some frames as one batch of tensors of the keys that a policy reads.

    Instructions come as a list of sentences.

    Raises ValueError naming a key that the frames lack.
    """
    batch: dict[str, Any] = {}
    for key in keys:
        if key not in frames[0].observation:
            have = ", ".join(frames[0].observation)
            raise ValueError(f"the policy reads {key!r}, but the moments hold only {have}")
        if key == TASK_KEY:
            batch[key] = [str(frame.observation[key]) for frame in frames]
            continue
        values = np.stack([np.asarray(frame.observation[key]) for frame in frames])
        batch[key] = torch.from_numpy(values).to(device)
    return batch


def _frame_of(
    world: Any, step: int, observation: Mapping[str, Any], action: NDArray[np.float32]
) -> Frame:
    label = world.birds_eye_label() if hasattr(world, "birds_eye_label") else None
    pose = world.vehicle_state().pose if hasattr(world, "vehicle_state") else None
    return Frame(step, dict(observation), np.asarray(action, np.float32), pose, label)
