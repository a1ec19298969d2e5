"""What tests of the benchmark share: whether it is here, and actions to try it with."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from numpy.typing import NDArray

from helmsight.envs.libero.package import find_assets, package_folder

_MODULES = ("robosuite", "bddl", "numba", "scipy", "easydict")
INSTALLED = package_folder() is not None and all(map(importlib.util.find_spec, _MODULES))
NEEDS_PACKAGE = pytest.mark.skipif(not INSTALLED, reason="LIBERO is not installed")
NEEDS_SCENES = pytest.mark.skipif(
    not INSTALLED or find_assets() is None,
    reason="LIBERO or its scene assets (HELMSIGHT_LIBERO_ASSETS) are not here",
)


def actions(count: int, seed: int = 0) -> NDArray[np.float64]:
    """`count` actions [count, 7] that move, turn and grip."""
    drawn = np.random.default_rng(seed).uniform(-0.6, 0.6, (count, 7))
    drawn[:, 6] = np.where(np.arange(count) % 4 < 2, -1.0, 1.0)
    return drawn
