"""The robots that `helmsight drive` knows, one for each episode of its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmsight.cli.trained_options import camera_options

if TYPE_CHECKING:
    from helmsight.deploy.client import Announcement
    from helmsight.deploy.robot import Robot
    from helmsight.envs.spec import EmbodimentSpec, SafetySpec


@dataclass(frozen=True)
class Ride:
    """One drive: what it is called, with which robot, and the outcome that is its success."""

    name: str
    robot: Robot
    success: str


def rides(values: dict[str, Any], announced: Announcement) -> Iterator[Ride]:
    """A ride for each of `values["episodes"]`, with the cameras that the policy was trained with.

    Raises ValueError for an unknown robot, and for a policy that was trained for another one.
    """
    known: dict[str, Callable[[dict[str, Any], Announcement], Iterator[Ride]]]
    known = {"parking": _parking_rides, "libero": _libero_rides}
    kind = values["robot_type"]
    if kind not in known:
        raise ValueError(f"unknown robot_type {kind!r}; expected one of {', '.join(known)}")
    yield from known[kind](values, announced)


def _parking_rides(values: dict[str, Any], announced: Announcement) -> Iterator[Ride]:
    from helmsight.envs.parking.vehicle import PARKING_SAFETY, parking_embodiment, parking_rig

    rig, size = parking_rig(announced.embodiment)
    simulated = _Simulated("parking", parking_embodiment(rig, size), PARKING_SAFETY, announced)
    environment = {**values["robot_options"], "cameras": rig, "image_size": size}
    for episode in values["episodes"]:
        name = f"parking/{environment['family']}/{environment['split']}/{episode}"
        yield Ride(name, simulated.robot(environment, episode), "TSR")


def _libero_rides(values: dict[str, Any], announced: Announcement) -> Iterator[Ride]:
    from helmsight.envs.libero.embodiment import LIBERO_SAFETY, libero_embodiment

    size = camera_options(announced.embodiment)["image_size"]
    environment = {**values["robot_options"], "image_size": size}
    suite = environment["suite"]
    simulated = _Simulated("libero", libero_embodiment(suite, size), LIBERO_SAFETY, announced)
    for episode in values["episodes"]:
        name = f"libero/{suite}/{environment['protocol']}/{episode}"
        yield Ride(name, simulated.robot(environment, episode), "SR")


class _Simulated:
    """Simulated robots of one kind, each a process of its own.

    Raises ValueError when the served policy was trained for another robot.
    """

    def __init__(
        self, kind: str, embodiment: EmbodimentSpec, safety: SafetySpec, announced: Announcement
    ) -> None:
        differences = embodiment.differences(announced.embodiment)
        if differences:
            named = "; ".join(differences[:3])
            raise ValueError(f"the served policy is for another robot than {kind!r}: {named}")
        self._kind, self._embodiment, self._safety = kind, embodiment, safety
        self._sees = any(key in embodiment.image_keys for key in announced.observation_keys)

    def robot(self, environment: dict[str, Any], episode: int) -> Robot:
        from helmsight.deploy.process_robot import ProcessRobot

        options = {
            "robot": self._kind,
            "episode": episode,
            "sees": self._sees,
            "environment": environment,
        }
        command = [sys.executable, "-m", "helmsight.cli.simulated_robot"]
        return ProcessRobot(command, options, self._embodiment, self._safety)
