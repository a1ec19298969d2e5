"""Which simulators can stand behind the parking environment, by name.

Factories are named, not imported: a simulator's dependencies load when it is first made.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from helmsight.envs.parking.simulator import ParkingSimulator

SIMULATORS = {
    "mujoco": "helmsight.envs.parking.mujoco:MujocoParkingSimulator",
    "kinematic": "helmsight.envs.parking.kinematic:KinematicSimulator",
    "carla": "helmsight.envs.parking.carla:CarlaParkingSimulator",
}


def make_simulator(name: str, options: Mapping[str, Any] | None = None) -> ParkingSimulator:
    """A new simulator, with options of its own; those that are None keep their defaults.

    Raises ValueError for a name that is not in `SIMULATORS`, and for an option that the simulator
    does not have.
    """
    factory = _factory(name)
    given = given_options(options)
    known = inspect.signature(factory).parameters
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise ValueError(
            f"simulator {name} has no option {', '.join(unknown)}; its options are "
            f"{', '.join(known) or 'none'}"
        )
    simulator: ParkingSimulator = factory(**given)
    return simulator


def simulator_label(name: str, options: Mapping[str, Any] | None = None) -> str:
    """What results of a simulator are called; a CARLA server is asked what is behind it.

    Raises ValueError for an unknown name, ConnectionError for a server that does not answer.
    """
    _factory_name(name)
    if name != "carla":
        return name
    from helmsight.envs.parking.carla.simulator import label_of

    return label_of(**given_options(options))


def simulator_identity(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What results depend on: the simulator's label, and its lot where one was given.

    A server's address is no part of it; what is behind it is. Raises as `simulator_label` does.
    """
    given = given_options(options)
    identity = {"simulator": simulator_label(name, given)}
    return {**identity, "lot": given["lot"]} if "lot" in given else identity


def require_free_server(name: str, workers: int) -> None:
    """Raises ValueError where several workers would share a server that takes one client."""
    if name == "carla" and workers > 1:
        raise ValueError(f"a CARLA server has one client: give workers=1, not {workers}")


def given_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in (options or {}).items() if value is not None}


def _factory(name: str) -> Any:
    module, factory = _factory_name(name).split(":")
    return getattr(import_module(module), factory)


def _factory_name(name: str) -> str:
    if name not in SIMULATORS:
        raise ValueError(f"unknown simulator {name!r}; expected one of {', '.join(SIMULATORS)}")
    return SIMULATORS[name]
