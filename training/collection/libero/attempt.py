"""What attempt number k of a LIBERO collection will do, before anything is simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from helmsight.training.collection.libero.settings import LiberoCollection, group_name

# Later than this most tasks' expert is done (control steps).
_LATEST_PUSH = 100
_PUSH_STEPS = (6, 14)
# Where the hand goes before the recording begins, from where the benchmark starts it (m, rad).
_OFFSET_LOW = (-0.10, -0.14, -0.07)
_OFFSET_HIGH = (0.10, 0.14, 0.10)
_OFFSET_YAW = 0.4


@dataclass(frozen=True)
class Push:
    """A push of the hand: from control step `start` on, the first in free space, for `steps` steps.

    twist: peak translation [3] and rotation [3], in the action's units.
    """

    start: int
    steps: int
    twist: tuple[float, ...]


@dataclass(frozen=True)
class LiberoAttempt:
    """One attempt at a demonstration.

    number, suite, task: which. mode: "clean", "displaced" or "disturbed". swapped: whether the arm
    is told another task that the scene allows. seed: of placements and noise. offset: by which the
    hand is moved before, x, y, z (m) and yaw (rad), or None. push: or None.
    """

    number: int
    suite: str
    task: int
    mode: str
    swapped: bool
    seed: int
    offset: tuple[float, float, float, float] | None
    push: Push | None

    @property
    def group(self) -> str:
        return group_name(self.suite, self.task)

    def log(self) -> dict[str, Any]:
        return {
            "attempt": self.number,
            "group": self.group,
            "mode": self.mode,
            "task": self.task,
            "swapped": self.swapped,
            "seed": self.seed,
        }


def draw_attempt(settings: LiberoCollection, number: int) -> LiberoAttempt:
    """Attempt `number` of a round: a pure function of (seed, round, suite, task, try) and shares.

    Tasks take turns, so that attempt k is try k // T of task k mod T; which tasks are collected
    beside it does not matter to a task's tries.
    """
    assert settings.tasks is not None
    task = settings.tasks[number % len(settings.tasks)]
    key = (settings.round, *settings.suite.encode(), task, number // len(settings.tasks))
    random = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))
    seed = int(random.integers(2**31))
    displaced = random.random() < settings.displaced
    disturbed = random.random() < settings.disturbed
    swapped = bool(random.random() < settings.swapped)
    position = random.uniform(_OFFSET_LOW, _OFFSET_HIGH)
    yaw = float(random.uniform(-_OFFSET_YAW, _OFFSET_YAW))
    push = _draw_push(random)
    mode = "disturbed" if disturbed else "displaced" if displaced else "clean"
    x, y, z = (float(value) for value in position)
    return LiberoAttempt(
        number=number,
        suite=settings.suite,
        task=task,
        mode=mode,
        swapped=swapped,
        seed=seed,
        offset=(x, y, z, yaw) if displaced else None,
        push=push if disturbed else None,
    )


def _draw_push(random: np.random.Generator) -> Push:
    direction = random.standard_normal(3)
    direction[2] = abs(direction[2])  # not down onto something
    translation = direction / np.linalg.norm(direction) * random.uniform(0.4, 1.0)
    rotation = random.uniform(-0.15, 0.15, 3)
    return Push(
        start=int(random.integers(5, _LATEST_PUSH)),
        steps=int(random.integers(*_PUSH_STEPS)),
        twist=tuple(float(value) for value in (*translation, *rotation)),
    )
