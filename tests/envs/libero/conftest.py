from __future__ import annotations

from collections.abc import Iterator

import pytest

from helmsight.envs.libero.env import LiberoEnvironment
from helmsight.envs.libero.simulator import LiberoSimulator


@pytest.fixture(scope="session")
def milk() -> LiberoSimulator:
    """A simulator of one task; tests reset it before they use it."""
    return LiberoSimulator("libero_object", 7)


@pytest.fixture(scope="session")
def stove() -> LiberoSimulator:
    """A simulator of a task among fixtures."""
    return LiberoSimulator("libero_goal", 7)


@pytest.fixture(scope="session")
def environment() -> Iterator[LiberoEnvironment]:
    """The whole suite of objects with small pictures; tests reset it before they use it."""
    environment = LiberoEnvironment(image_size=32)
    yield environment
    environment.close()
