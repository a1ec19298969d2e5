"""What the controller asks of a robot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.spec import EmbodimentSpec, SafetySpec


@dataclass(frozen=True)
class Observed:
    """An observation and when it was true.

    values: arrays by LeRobot's keys, as the embodiment describes them; the text `task`, where a
    robot is told what to do.
    taken_at: `time.monotonic()` on this machine when the sensors were read, in seconds. It is the
    time of the reading, not of its arrival: all ages are counted from it.
    outcome: how the robot's task has ended, empty while it is under way.
    """

    values: dict[str, NDArray[Any]]
    taken_at: float
    outcome: str = ""


class RobotLostError(ConnectionError):
    """The robot does not answer any more."""


class Robot(Protocol):
    """A robot. Its methods are called from one thread, and none may block for a control period."""

    embodiment: EmbodimentSpec
    safety: SafetySpec

    def connect(self) -> None:
        """Get ready; returns when the first observation is there. May take its time."""

    def observe(self) -> Observed:
        """The newest observation; the same again when there is no newer one."""

    def act(self, action: NDArray[np.float32]) -> None:
        """Carry out an action [A] from now on, until the next one."""

    def stop(self) -> None:
        """Come to a safe stand and disconnect. Safe to call at any time, and twice."""
