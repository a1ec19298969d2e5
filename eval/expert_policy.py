"""The parking expert behind the surface of a policy, so that it can be evaluated like one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helmsight.envs.parking.expert import ParkingExpert, PlanningFailure
from helmsight.envs.parking.simulator import VehicleCommand

_BRAKE = VehicleCommand(-1.0, 0.0, True)


class ExpertPolicy:
    """Drives by the truth of the environment it is bound to and looks at no observation."""

    needs_observation = False

    def __init__(self) -> None:
        self._environment: Any = None
        self._expert: ParkingExpert | None = None
        self._gave_up = False

    def bind(self, environment: Any) -> None:
        """Read the truth of this (unwrapped) parking environment from now on.

        Raises ValueError for an environment without a car.
        """
        if not hasattr(environment, "vehicle_state"):
            raise ValueError(f"the expert drives a car; {type(environment).__name__} has none")
        self._environment = environment

    def reset(self) -> None:
        """The next action plans anew, in whatever scenario the environment then holds."""
        self._expert, self._gave_up = None, False

    def select_action(self, observation: dict[str, Any]) -> Tensor:
        """The expert's action [1, 3]; brakes for good where it finds no path."""
        command = _BRAKE
        if not self._gave_up:
            try:
                command = self._act()
            except PlanningFailure:
                # Not finding a path is a failure of the expert, to be counted as one.
                self._gave_up = True
        values = (command.acceleration, command.steer, float(command.reverse))
        return torch.tensor([values], dtype=torch.float32)

    def _act(self) -> VehicleCommand:
        if self._environment is None:
            raise RuntimeError("the expert must be bound to an environment before it drives")
        state = self._environment.vehicle_state()
        if self._expert is None:
            self._expert = ParkingExpert(self._environment.scenario)
            self._expert.plan(state)
        return self._expert.act(state)
