"""What a server serves: observations in, chunks of actions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.spec import EmbodimentSpec

TASK_KEY = "task"
# A `Recollection` in an observation, beside what the robot sent.
MEMORY_KEY = "memory"


@dataclass
class Recollection:
    """What a policy remembers of one robot [M]; None before its first decision.

    Given with every observation of that robot; a model that remembers reads it and puts the new one
    in its place, others leave it alone.
    """

    values: NDArray[np.float32] | None = None


class ModelError(RuntimeError):
    """A model that failed or gave what no robot may be sent."""


class Model(Protocol):
    """A policy as the server sees it; called from one thread."""

    embodiment: EmbodimentSpec
    observation_keys: tuple[str, ...]
    steps_per_decision: int
    """How many actions of a chunk are meant to be carried out before the next decision."""
    name: str

    def warm_up(self) -> None:
        """Initialise what is initialised lazily."""

    def decide(self, observations: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
        """B checked observations -> actions [B, K, A] in physical units.

        What is remembered of a robot is in its observation's `MEMORY_KEY`; without one, nothing is.
        """


def blank_observation(embodiment: EmbodimentSpec) -> dict[str, NDArray[Any]]:
    """An observation of black images and a state of zeros."""
    images: dict[str, NDArray[Any]] = {
        key: np.zeros((camera.height, camera.width, 3), np.uint8)
        for key, camera in zip(embodiment.image_keys, embodiment.cameras, strict=True)
    }
    return {**images, "observation.state": np.zeros(embodiment.state.size, np.float32)}


def recalled(
    observations: Sequence[dict[str, Any]], size: int
) -> tuple[list[Recollection], NDArray[np.float32]]:
    """The recollections of B observations, and what they hold [B, size]; zeros where nothing."""
    kept = [observation.get(MEMORY_KEY) or Recollection() for observation in observations]
    nothing = np.zeros(size, np.float32)
    return kept, np.stack([nothing if one.values is None else one.values for one in kept])


def checked_actions(actions: Any, count: int, embodiment: EmbodimentSpec) -> NDArray[np.float32]:
    """Actions [B, K, A] as a model gave them. Raises ModelError for what is no such thing."""
    array = np.asarray(actions)
    entries = embodiment.action.size
    fits = array.ndim == 3 and array.shape[0] == count and array.shape[2] == entries
    if not fits or array.shape[1] < 1 or not np.issubdtype(array.dtype, np.floating):
        raise ModelError(
            f"the policy gave {array.dtype} {list(array.shape)} "
            f"instead of floating-point actions [{count}, K, {entries}]"
        )
    if not np.isfinite(array).all():
        raise ModelError("the policy gave actions that are not finite")
    return array.astype(np.float32)
