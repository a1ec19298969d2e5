"""Environments whose images are made when they are asked for, and what these have in common."""

from __future__ import annotations

import abc
import operator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.spec import EmbodimentSpec

Observation = dict[str, NDArray[Any]]


class DeferredImageEnvironment(gymnasium.Env[Observation, NDArray[np.float32]], abc.ABC):
    """Acting and looking apart: `step` is `advance`, which makes no image, then `observe`.

    A sub-class says how an episode begins, goes on and looks.
    """

    embodiment: EmbodimentSpec

    def __init__(self) -> None:
        self._upcoming: list[int] = []
        self._ended = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; returns its first observation and info.

        Raises ValueError for an unknown option or an episode that there is not.
        """
        info = self.restart(seed=seed, options=options)
        return self.observe(), info

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """`advance`, then `observe`."""
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> Observation:
        """The observation now; this is what makes the camera images."""
        return {**self._images(), **self.observe_state()}

    @abc.abstractmethod
    def restart(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`reset` without an observation: start an episode, make no image, return info."""

    @abc.abstractmethod
    def advance(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Act for one control period without making images.

        Returns (reward, terminated, truncated, info).
        """

    @abc.abstractmethod
    def observe_state(self) -> Observation:
        """The part of the observation that costs no image."""

    @abc.abstractmethod
    def _images(self) -> Observation:
        """All cameras' images now."""

    def _seed(self, seed: int | None) -> None:
        """What Gymnasium does at a reset; a new seed draws a new sequence of episodes."""
        super().reset(seed=seed)
        if seed is not None:
            self._upcoming = []


def check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raises ValueError, naming what is allowed, for another value of an option."""
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"unknown {name} {value!r}; expected one of {choices}")


def episode_number(value: Any) -> int:
    """The reset option `episode` as a whole number. Raises ValueError for anything else."""
    try:
        if not isinstance(value, bool | np.bool_):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"reset option 'episode' must be a whole number, got {value!r}")


def float32(values: tuple[float, ...]) -> NDArray[np.float32]:
    """Limits of a space."""
    return np.array(values, np.float32)
