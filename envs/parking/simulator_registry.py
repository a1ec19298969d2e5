"""Which simulators can stand behind the parking environment, by name.

Factories are named, not imported: a simulator's dependencies load when it is first made.
"""

from __future__ import annotations

from importlib import import_module

from helmsight.envs.parking.simulator import ParkingSimulator

SIMULATORS = {
    "mujoco": "helmsight.envs.parking.mujoco:MujocoParkingSimulator",
    "kinematic": "helmsight.envs.parking.kinematic:KinematicSimulator",
}


def make_simulator(name: str) -> ParkingSimulator:
    """A new simulator; ValueError for a name that is not in `SIMULATORS`."""
    if name not in SIMULATORS:
        raise ValueError(f"unknown simulator {name!r}; expected one of {', '.join(SIMULATORS)}")
    module, factory = SIMULATORS[name].split(":")
    simulator: ParkingSimulator = getattr(import_module(module), factory)()
    return simulator
