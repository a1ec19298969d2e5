"""Typical drives: the expert's actions in scenarios of both families, to be driven again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.scenario import FAMILIES, Scenario, make_scenario
from helmsight.eval.expert_policy import ExpertPolicy


@dataclass(frozen=True)
class Drive:
    """A scenario and the actions [T, 3] that drive through it."""

    scenario: Scenario
    actions: NDArray[np.float32]


def typical_drives(environment: ParkingEnvironment, a_family: int, steps: int) -> list[Drive]:
    """The first `steps` control periods of the expert, `a_family` scenarios of each family."""
    return [
        _drive(environment, make_scenario(family, "train", index), steps)
        for index in range(a_family)
        for family in FAMILIES
    ]


def replay(environment: ParkingEnvironment, drive: Drive) -> Iterator[NDArray[np.float32]]:
    """The drive's actions one by one, from its scenario's start; the caller carries them out."""
    environment.restart(options={"scenario": drive.scenario})
    yield from drive.actions


def _drive(environment: ParkingEnvironment, scenario: Scenario, steps: int) -> Drive:
    environment.restart(options={"scenario": scenario})
    expert = ExpertPolicy()
    expert.bind(environment)
    actions: list[NDArray[np.float32]] = []
    ended = False
    while not ended and len(actions) < steps:
        action = expert.select_action({})[0].numpy()
        _, terminated, truncated, _ = environment.advance(action)
        actions.append(action)
        ended = terminated or truncated
    return Drive(scenario, np.stack(actions))
