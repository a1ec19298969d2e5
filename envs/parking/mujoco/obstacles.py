"""Parked cars and boxes as mocap bodies, and where a scenario puts them."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import Scenario

MAX_CARS = 64
MAX_BOXES = 4
# Mocap bodies without a use in the scenario wait this deep, out of everybody's reach and of each
# other's: a heap of overlapping bodies would slow down the search for contacts.
PARKED_AWAY = -100.0
SPACING_AWAY = 20.0


def mocap_bodies(cars: list[str], boxes: list[str]) -> str:
    """MJCF of all movable obstacles, given the geoms of each; origins on the ground, amid them."""
    named = [(f"car:{index}", geoms) for index, geoms in enumerate(cars)]
    named += [(f"box:{index}", geoms) for index, geoms in enumerate(boxes)]
    return "\n".join(
        f'<body name="{name}" mocap="true" pos="0 0 {PARKED_AWAY}">{geoms}</body>'
        for name, geoms in named
    )


def check_room(scenario: Scenario) -> None:
    """Raise ValueError if a scenario has more obstacles than there are bodies."""
    if len(scenario.cars) > MAX_CARS or len(scenario.boxes) > MAX_BOXES:
        raise ValueError(
            f"a scenario holds at most {MAX_CARS} cars and {MAX_BOXES} boxes, "
            f"got {len(scenario.cars)} and {len(scenario.boxes)}"
        )


def place_obstacles(data: mujoco.MjData, scenario: Scenario) -> None:
    """Put cars and boxes where the scenario has them, and the unused bodies away."""
    count = MAX_CARS + MAX_BOXES
    data.mocap_pos[:count] = (0.0, 0.0, PARKED_AWAY)
    data.mocap_pos[:count, 0] = SPACING_AWAY * np.arange(1, count + 1)
    data.mocap_pos[:count, 1] = SPACING_AWAY * np.arange(1, count + 1)
    data.mocap_quat[:count] = (1.0, 0.0, 0.0, 0.0)
    for index, car in enumerate(scenario.cars):
        place(data, index, car.pose)
    for index, box in enumerate(scenario.boxes):
        place(data, MAX_CARS + index, box.pose)


def place(data: mujoco.MjData, mocap: int, pose: Pose) -> None:
    """Put one mocap body on the ground at a pose."""
    data.mocap_pos[mocap] = (pose.x, pose.y, 0.0)
    data.mocap_quat[mocap] = (math.cos(pose.yaw / 2.0), 0.0, 0.0, math.sin(pose.yaw / 2.0))
