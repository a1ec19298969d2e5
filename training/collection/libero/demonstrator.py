"""One attempt at a LIBERO demonstration: rolled out without a picture, rendered if it succeeded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.embodiment import state_vector
from helmsight.envs.libero.expert import LiberoExpert
from helmsight.envs.libero.expert.displacement import displace
from helmsight.envs.libero.instructions import Order, possible_orders, task_order
from helmsight.envs.libero.placement import redraw_placements
from helmsight.envs.libero.renderer import CameraRenderer
from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState, UnstableSimulation
from helmsight.training.collection.demonstration import Demonstration, FailedAttempt
from helmsight.training.collection.libero.attempt import LiberoAttempt
from helmsight.training.collection.libero.other_focus import OtherFocus
from helmsight.training.collection.libero.recording import OTHER_FOCUS, OTHER_INSTRUCTION
from helmsight.training.collection.libero.settings import LiberoCollection

# Steps that the expert may take beyond the benchmark's limit: letting go and drawing back.
_EXTRA_STEPS = 40
_SMOOTHNESS = 0.8  # of the noise, from one step to the next


class LiberoDemonstrator:
    """Carries out attempts; keeps the simulator of each task that it has met."""

    def __init__(self, settings: LiberoCollection) -> None:
        self._settings = settings
        self._features = settings.features()
        self._cameras = settings.embodiment().image_keys
        self._simulators: dict[int, LiberoSimulator] = {}
        self._renderer: CameraRenderer | None = None

    def run(self, attempt: LiberoAttempt) -> Demonstration:
        """Carry out one attempt. Raises FailedAttempt where it gives no demonstration."""
        simulator = self._simulator(attempt.task)
        random = np.random.default_rng(attempt.seed)
        order = _order(simulator, attempt, random)
        simulator.goal = order.goal
        self._place(simulator, attempt, random)
        try:
            frames = _roll_out(simulator, attempt, random, self._settings.noise)
        except UnstableSimulation:
            raise FailedAttempt("simulator: unstable") from None
        columns = self._columns(simulator, frames, OtherFocus(simulator, order))
        fixtures = {
            name: [round(float(value), 9) for value in pose]
            for name, pose in zip(simulator.fixture_names, simulator.state().fixtures, strict=True)
        }
        return Demonstration(columns, order.instruction, {"fixtures": fixtures})

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _simulator(self, task: int) -> LiberoSimulator:
        if task not in self._simulators:
            self._simulators[task] = LiberoSimulator(self._settings.suite, task)
        return self._simulators[task]

    def _place(
        self, simulator: LiberoSimulator, attempt: LiberoAttempt, random: np.random.Generator
    ) -> None:
        simulator.reset(random)
        if self._settings.placement == "region":
            redraw_placements(simulator, random, self._settings.spread)
        if simulator.is_success():
            raise FailedAttempt("placement: the goal holds already")
        if attempt.offset is not None:
            displace(simulator, attempt.offset)

    def _columns(
        self, simulator: LiberoSimulator, frames: _Frames, other: OtherFocus
    ) -> dict[str, NDArray[Any]]:
        """The recorded episode's columns, its pictures made now."""
        count = len(frames.actions)
        pictures, other_focus = [], []
        for state in frames.states:
            simulator.set_state(state)
            pictures.append(self._render(simulator))
            other_focus.append(other.now())
        columns: dict[str, NDArray[Any]] = {
            "observation.state": np.stack(frames.observed),
            "action": np.stack(frames.actions),
            "simulator.focus": np.stack(frames.focus),
            OTHER_INSTRUCTION: np.tile(other.instructions, (count, 1)),
            OTHER_FOCUS: np.stack(other_focus),
            "simulator.state": np.stack([state.physics for state in frames.states]),
            "next.done": np.arange(count) == count - 1,
            "next.success": np.arange(count) == count - 1,
        }
        for key, camera in zip(self._cameras, zip(*pictures, strict=True), strict=True):
            columns[key] = np.stack(camera)
        return {key: columns[key] for key in self._features}

    def _render(self, simulator: LiberoSimulator) -> tuple[NDArray[np.uint8], ...]:
        if self._renderer is None:
            self._renderer = CameraRenderer(self._settings.image_size, self._settings.render)
        return self._renderer.render(*simulator.observed())


def _order(
    simulator: LiberoSimulator, attempt: LiberoAttempt, random: np.random.Generator
) -> Order:
    """The task's own instruction, or another of the suite that its scene allows."""
    others = possible_orders(simulator.task, simulator.things)
    if not attempt.swapped or not others:
        return task_order(simulator.task)
    return others[int(random.integers(len(others)))]


class _Frames:
    """What was recorded of an episode so far, without pictures."""

    def __init__(self) -> None:
        self.actions: list[NDArray[np.float32]] = []
        self.observed: list[NDArray[np.float32]] = []
        self.states: list[LiberoState] = []
        self.focus: list[NDArray[np.float32]] = []

    def add(
        self,
        simulator: LiberoSimulator,
        action: NDArray[np.float32],
        focus: NDArray[np.float32],
    ) -> None:
        self.observed.append(state_vector(simulator))
        self.states.append(simulator.state())
        self.focus.append(focus)
        self.actions.append(action)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]


def _roll_out(
    simulator: LiberoSimulator,
    attempt: LiberoAttempt,
    random: np.random.Generator,
    noise: float,
) -> _Frames:
    """The expert's episode, from its first frame or from the end of the push on.

    Noise and push act on the arm, not on the record: a frame holds what the expert wanted to do
    where it was (Laskey et al. 2017, DART).
    """
    expert, frames, hand = LiberoExpert(), _Frames(), _Disturber(attempt, random, noise)
    for step in range(simulator.task.step_limit + _EXTRA_STEPS):
        action = expert.act(simulator)
        if expert.finished:
            break
        frames.add(simulator, action, expert.focus())
        simulator.step(hand.disturbed(step, action, expert.is_free))
        if hand.pushed_now:
            frames.clear()
    else:
        phase = "late" if expert.succeeded else "no success"
        raise FailedAttempt(f"expert: {phase}")
    if attempt.push is not None and not hand.has_pushed:
        raise FailedAttempt("push: no free moment")
    if not frames.actions:
        raise FailedAttempt("push: nothing left to record")
    return frames


class _Disturber:
    """Adds smooth noise and at most one push to the expert's actions in free space."""

    def __init__(self, attempt: LiberoAttempt, random: np.random.Generator, noise: float) -> None:
        self._push, self._random, self._scale = attempt.push, random, noise
        self._noise = np.zeros(3)
        self._left = attempt.push.steps if attempt.push is not None else 0
        self.pushed_now = False

    @property
    def has_pushed(self) -> bool:
        return self._push is not None and self._left == 0

    def disturbed(
        self, step: int, action: NDArray[np.float32], is_free: bool
    ) -> NDArray[np.float32]:
        """What the arm is told instead of the expert's action [7]."""
        self._noise = _SMOOTHNESS * self._noise + np.sqrt(1.0 - _SMOOTHNESS**2) * (
            self._scale * self._random.standard_normal(3)
        )
        told = np.array(action)
        begun = self._push is not None and self._left < self._push.steps
        due = self._push is not None and step >= self._push.start and (is_free or begun)
        self.pushed_now = due and self._left > 0
        if self.pushed_now:
            assert self._push is not None
            done = 1.0 - (self._left - 0.5) / self._push.steps
            told[:6] = np.array(self._push.twist) * np.sin(np.pi * done)
            self._left -= 1
        elif is_free:
            told[:3] += self._noise
        return np.clip(told, -1.0, 1.0)
