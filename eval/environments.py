"""Environments to evaluate in, by Gymnasium id (`module:id` imports the module first)."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from helmsight.envs.registration import LIBERO_ID


def make_environment(name: str, options: dict[str, Any]) -> gymnasium.Env:
    """A new environment; its own errors about wrong options pass through."""
    return gymnasium.make(_registered(name), disable_env_checker=True, **options)


def environment_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` with the defaults of those not given, as far as they are plain values.

    Raises ValueError, naming what is allowed, for an option that the environment does not have.
    """
    specification = gymnasium.spec(_registered(name))
    entry = specification.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    assert creator is not None
    parameters = inspect.signature(creator).parameters.values()
    names = [parameter.name for parameter in parameters]
    unknown = sorted(options.keys() - set(names))
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    if unknown and not open_ended:
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}; its options are {', '.join(names)}"
        )
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    for name_of_an_object in ("render_mode", "motion"):
        defaults.pop(name_of_an_object, None)
    return {**defaults, **specification.kwargs, **options}


def environment_identity(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`environment_options` with what results depend on, and not where it was.

    A simulator is named by what its results are called; a server's address is left out. LIBERO's
    scene assets are named by their hash.
    Raises ValueError as `environment_options` does, ConnectionError for a server that is to be
    asked and does not answer, FileNotFoundError for missing assets.
    """
    from helmsight.envs.parking.simulator_registry import simulator_identity

    known = environment_options(name, options)
    of_simulator = known.pop("simulator_options", None)
    if known.get("simulator") == "carla":
        known |= simulator_identity("carla", of_simulator)
    if _registered(name) == LIBERO_ID:
        from helmsight.envs.libero.package import assets_identity

        known["assets"] = assets_identity()
    return known


def _registered(name: str) -> str:
    """The id without its module, which is imported so that the id is registered."""
    importlib.import_module("helmsight.envs")
    module, separator, plain = name.rpartition(":")
    if separator:
        importlib.import_module(module)
    return plain
