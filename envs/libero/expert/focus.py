"""Where the thing is that a predicate is about, and where it is to go: a label for looking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.goal import Predicate
from helmsight.envs.libero.expert.scene import Scene


def focus_of(scene: Scene, predicate: Predicate) -> NDArray[np.float32]:
    """Positions [6] in the world frame, m: of the predicate's subject, and of its place.

    The place is the subject again where it goes nowhere (a door, a knob).
    """
    place = predicate.place or predicate.subject
    positions = [scene.position_of_any(name) for name in (predicate.subject, place)]
    return np.concatenate(positions).astype(np.float32)


def first_focus(scene: Scene, predicates: Sequence[Predicate]) -> NDArray[np.float32]:
    """`focus_of` [6] the first of a goal's predicates that does not hold, or of the last one."""
    first = next((one for one in predicates if not scene.holds(one)), predicates[-1])
    return focus_of(scene, first)
