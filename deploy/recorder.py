"""A flight recorder: the last minutes of a drive, as the controller lived through them.

It keeps a bounded ring in memory and writes nothing itself; `columns` gives what a data set holds,
a row a control period:

    observation.images.<camera>, observation.state   what the robot reported
    action                     what was carried out (the safe action, where it came in mid-period)
    controller.tick            number of the period; a gap is a period that was missed
    controller.observation_age s from the sensors' reading to the period's begin
    controller.chunk           the newest chunk in force [K, A], row by row; filled up with its last
    controller.chunk_length    how many of its actions are its own; 0 where there was no chunk
    controller.chunk_age       s from the reading that it was decided on to the period's begin
    controller.proposed        what chunks said about this period, before the gate
    controller.is_proposed     whether they said anything (else `proposed` repeats the action)
    controller.interventions   for each reason of `safety.REASONS` whether the gate acted on it
    controller.troubles        for each of `decider.TROUBLES` whether it happened
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.chunks import Chunk
from helmsight.deploy.decider import TROUBLES
from helmsight.deploy.model import TASK_KEY
from helmsight.deploy.robot import Observed
from helmsight.deploy.safety import REASONS
from helmsight.envs.spec import EmbodimentSpec

STATE_KEY = "observation.state"


@dataclass
class Moment:
    """One control period. `began` is `time.monotonic()` in seconds; actions are [A].

    What was executed, why, and what went wrong may still change until the period is over.
    """

    tick: int
    began: float
    observed: Observed
    chunk: Chunk | None
    proposed: NDArray[np.float32] | None
    executed: NDArray[np.float32]
    reasons: Sequence[str]
    troubles: Sequence[str]


class FlightRecorder:
    """Keeps the moments of the last `seconds`; older ones are dropped."""

    def __init__(self, embodiment: EmbodimentSpec, seconds: float) -> None:
        if not seconds > 0.0:
            raise ValueError(f"a flight recorder keeps more than 0 seconds, got {seconds}")
        self.embodiment = embodiment
        self._moments: deque[Moment] = deque(maxlen=math.ceil(seconds * embodiment.rate_hz))

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def order(self) -> str:
        """What the robot was told to do when it last said so; empty for robots without orders."""
        told = [m.observed.values[TASK_KEY] for m in self._moments if TASK_KEY in m.observed.values]
        return str(told[-1]) if told else ""

    def note(self, moment: Moment) -> None:
        """Keep a moment. Its observation is copied: a robot may use the memory again."""
        values = {key: np.array(value) for key, value in moment.observed.values.items()}
        moment.observed = dataclasses.replace(moment.observed, values=values)
        self._moments.append(moment)

    def columns(self, chunk_length: int | None = None) -> dict[str, NDArray[Any]]:
        """One array [T, ...] a column; see the module's docstring. Raises ValueError when empty.

        chunk_length: K, to which chunks are cut or filled up; None takes the longest one's.
        Pictures are there for the cameras that the robot ever reported. What it failed to report,
        or reported as NaN, is 0; `controller.interventions` says where.
        """
        if not self._moments:
            raise ValueError("the flight recorder is empty: nothing was driven")
        moments = list(self._moments)
        actions = self.embodiment.action.size
        columns: dict[str, NDArray[Any]] = {
            key: self._pictures(moments, key) for key in self._seen_cameras(moments)
        }
        columns[STATE_KEY] = np.stack([self._state(moment.observed) for moment in moments])
        columns["action"] = np.stack([moment.executed for moment in moments])
        columns["controller.tick"] = np.array([moment.tick for moment in moments])
        ages = [moment.began - moment.observed.taken_at for moment in moments]
        columns["controller.observation_age"] = np.array(ages, np.float32)
        columns |= _chunk_columns(moments, chunk_length, actions)
        columns["controller.proposed"] = np.stack([_proposed(moment) for moment in moments])
        columns["controller.is_proposed"] = np.array([m.proposed is not None for m in moments])
        columns["controller.interventions"] = _flags([m.reasons for m in moments], REASONS)
        columns["controller.troubles"] = _flags([m.troubles for m in moments], TROUBLES)
        return columns

    def _seen_cameras(self, moments: list[Moment]) -> list[str]:
        return [
            key
            for key in self.embodiment.image_keys
            if any(key in moment.observed.values for moment in moments)
        ]

    def _pictures(self, moments: list[Moment], key: str) -> NDArray[np.uint8]:
        camera = self.embodiment.cameras[self.embodiment.image_keys.index(key)]
        pictures = np.zeros((len(moments), camera.height, camera.width, 3), np.uint8)
        for index, moment in enumerate(moments):
            picture = moment.observed.values.get(key)
            if picture is not None and picture.shape == pictures.shape[1:]:
                pictures[index] = picture
        return pictures

    def _state(self, observed: Observed) -> NDArray[np.float32]:
        size = self.embodiment.state.size
        state = observed.values.get(STATE_KEY)
        if state is None or state.shape != (size,):
            return np.zeros(size, np.float32)
        return np.nan_to_num(state.astype(np.float32), posinf=0.0, neginf=0.0)


def _proposed(moment: Moment) -> NDArray[np.float32]:
    """Action [A]; what is not finite is stored as 0, beside the intervention that it caused."""
    if moment.proposed is None or moment.proposed.shape != moment.executed.shape:
        return moment.executed
    return np.nan_to_num(moment.proposed.astype(np.float32), posinf=0.0, neginf=0.0)


def _chunk_columns(
    moments: list[Moment], length: int | None, actions: int
) -> dict[str, NDArray[Any]]:
    """Chunks [T, K * A], their lengths and their ages."""
    chunks = [moment.chunk for moment in moments]
    if length is None:
        length = max((len(chunk.actions) for chunk in chunks if chunk is not None), default=1)
    rows = np.zeros((len(moments), length, actions), np.float32)
    lengths = np.zeros(len(moments), np.int64)
    ages = np.zeros(len(moments), np.float32)
    for index, (moment, chunk) in enumerate(zip(moments, chunks, strict=True)):
        if chunk is None:
            continue
        lengths[index] = min(len(chunk.actions), length)
        ages[index] = moment.began - chunk.observed_at
        rows[index, : lengths[index]] = chunk.actions[:length]
        rows[index, lengths[index] :] = chunk.actions[-1]
    return {
        "controller.chunk": rows.reshape(len(moments), length * actions),  # [T, K, A] -> [T, K A]
        "controller.chunk_length": lengths,
        "controller.chunk_age": ages,
    }


def _flags(noted: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each name was noted, [T, names]."""
    return np.array([[name in row for name in names] for row in noted], np.bool_)
