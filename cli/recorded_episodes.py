"""Episodes of a data set on disk as the recordings that explanations read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.eval.explain.frames import BIRDS_EYE_KEY, Frame, Recording
from helmsight.policies.base import TASK_KEY
from helmsight.training.dataset.format import BIRDS_EYE_GREY_STEP
from helmsight.training.dataset.reader import LeRobotDataset

STATE_KEY, ACTION_KEY, TRUTH_KEY = "observation.state", "action", "simulator.state"
TARGET = slice(5, 8)  # of the parking car's state
TARGET_NAMES = ("target_x", "target_y", "target_yaw")


def read_recording(dataset: LeRobotDataset, episode: int) -> Recording:
    """All moments of an episode; their actions are those that were recorded.

    Poses come from the simulator's truth where the data set has it, else from the tracked target,
    which stays in place. Raises ValueError for an episode that the data set does not hold.
    """
    if not 0 <= episode < dataset.num_episodes:
        raise ValueError(
            f"{dataset.root} holds episodes 0 to {dataset.num_episodes - 1}, got {episode}"
        )
    first, end = (int(bound) for bound in dataset.episode_bounds[episode])
    indices = np.arange(first, end)
    states = dataset.columns(STATE_KEY)[first:end]
    actions = dataset.columns(ACTION_KEY)[first:end]
    pictures = {key: dataset.frames(key, indices) for key in dataset.image_keys}
    labels = pictures.pop(BIRDS_EYE_KEY, None)
    if labels is not None:
        labels = labels[..., 0] // np.uint8(BIRDS_EYE_GREY_STEP)  # [T, S, S, 1] -> [T, S, S]
    poses = _poses(dataset, first, end, states)
    frames = []
    for step in range(end - first):
        observation: dict[str, Any] = {key: rows[step] for key, rows in pictures.items()}
        observation[STATE_KEY] = states[step]
        observation[TASK_KEY] = dataset.episodes.tasks[episode]
        label = None if labels is None else labels[step]
        if label is not None:
            observation[BIRDS_EYE_KEY] = label
        frames.append(Frame(step, observation, actions[step], poses[step], label))
    return Recording(f"{dataset.root.name}/{episode}", frames, dataset.fps, driven=False)


def _poses(
    dataset: LeRobotDataset, first: int, end: int, states: NDArray[Any]
) -> list[Pose] | list[None]:
    """The vehicle's pose at each moment in one frame; None where nothing tells it."""
    if TRUTH_KEY in dataset.features:
        rows = dataset.columns(TRUTH_KEY)[first:end]
        return [Pose(float(x), float(y), float(yaw)) for x, y, yaw in rows[:, :3]]
    spec = dataset.embodiment
    if states.shape[1] < TARGET.stop or (spec and spec.state.names[TARGET] != TARGET_NAMES):
        return [None] * (end - first)
    targets = [Pose(*(float(value) for value in state[TARGET])) for state in states]
    return [target.relative(Pose(0.0, 0.0, 0.0)) for target in targets]
