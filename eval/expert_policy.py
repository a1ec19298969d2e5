"""The scripted experts behind the surface of a policy, so that they can be evaluated like one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helmsight.envs.parking.expert import ParkingExpert, PlanningFailure
from helmsight.envs.parking.simulator import VehicleCommand

_BRAKE = VehicleCommand(-1.0, 0.0, True)


class _Driver(Protocol):
    """An expert in one episode of an environment."""

    def act(self) -> NDArray[np.float32]:
        """The next action [A]."""


class ExpertPolicy:
    """Drives by the truth of the environment it is bound to and looks at no observation."""

    needs_observation = False

    def __init__(self) -> None:
        self._environment: Any = None
        self._driver: _Driver | None = None

    def bind(self, environment: Any) -> None:
        """Read the truth of this (unwrapped) environment from now on: parking or LIBERO.

        Raises ValueError for another one.
        """
        # Asked of the class: LIBERO's environment has no simulator before its first episode.
        world = type(environment)
        if not hasattr(world, "vehicle_state") and not hasattr(world, "simulator"):
            raise ValueError(
                f"the experts drive the parking car and LIBERO's arm; {world.__name__} has neither"
            )
        self._environment = environment

    def reset(self) -> None:
        """The next action plans anew, in whatever scenario the environment then holds."""
        self._driver = None

    def select_action(self, observation: dict[str, Any]) -> Tensor:
        """The expert's action [1, A]."""
        if self._environment is None:
            raise RuntimeError("the expert must be bound to an environment before it drives")
        if self._driver is None:
            self._driver = _driver(self._environment)
        return torch.from_numpy(self._driver.act())[None]


def _driver(environment: Any) -> _Driver:
    from helmsight.envs.libero.env import LiberoEnvironment

    if isinstance(environment, LiberoEnvironment):
        return _LiberoDriver(environment)
    return _ParkingDriver(environment)


class _ParkingDriver:
    """The parking expert; brakes for good where it finds no path."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._expert: ParkingExpert | None = None
        self._gave_up = False

    def act(self) -> NDArray[np.float32]:
        command = _BRAKE
        if not self._gave_up:
            try:
                command = self._command()
            except PlanningFailure:
                # Not finding a path is a failure of the expert, to be counted as one.
                self._gave_up = True
        values = (command.acceleration, command.steer, float(command.reverse))
        return np.array(values, np.float32)

    def _command(self) -> VehicleCommand:
        state = self._environment.vehicle_state()
        if self._expert is None:
            self._expert = ParkingExpert(self._environment.scenario)
            self._expert.plan(state)
        return self._expert.act(state)


class _LiberoDriver:
    """The scripted expert of the benchmark's tasks."""

    def __init__(self, environment: Any) -> None:
        from helmsight.envs.libero.expert import LiberoExpert

        self._simulator = environment.simulator
        self._expert = LiberoExpert()

    def act(self) -> NDArray[np.float32]:
        return self._expert.act(self._simulator)
