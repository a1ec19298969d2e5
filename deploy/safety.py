"""The last gate before the motors: limits, plausibility, and a safe action when in doubt."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.robot import Observed
from helmsight.envs.spec import EmbodimentSpec, SafetySpec

logger = logging.getLogger(__name__)

# Reasons for the safe action.
STALE_OBSERVATION = "stale_observation"
FROZEN_OBSERVATION = "frozen_observation"
FROZEN_CAMERA = "frozen_camera"
WRONG_CLOCK = "wrong_clock"
BAD_OBSERVATION = "bad_observation"
NO_ACTION = "no_action"
NOT_FINITE = "not_finite"
JUMP = "jump"
# Reasons for a corrected action.
POSITION = "position"
VELOCITY = "velocity"
REASONS = (
    *(NO_ACTION, NOT_FINITE, JUMP, STALE_OBSERVATION, FROZEN_OBSERVATION, FROZEN_CAMERA),
    *(WRONG_CLOCK, BAD_OBSERVATION, POSITION, VELOCITY),
)

KEPT_INTERVENTIONS = 10_000


@dataclass(frozen=True)
class Intervention:
    """A tick at which the executed action was not the proposed one."""

    tick: int
    reason: str
    proposed: tuple[float, ...] | None
    executed: tuple[float, ...]


def tightened(
    safety: SafetySpec, changes: Mapping[str, bool | float | Sequence[float | None]]
) -> SafetySpec:
    """A safety specification with some limits narrowed; None leaves an entry as it is.

    What is only noticed where it is asked for can be asked for, and not be given up.

    Raises ValueError for a limit that the embodiment does not have, or that would be widened.
    """
    narrowed: dict[str, bool | float | tuple[float, ...]] = {}
    for name, value in changes.items():
        declared = getattr(safety, name)
        if isinstance(declared, bool):
            narrowed[name] = _asked_for(name, declared, value)
            continue
        if isinstance(declared, tuple) != isinstance(value, Sequence):
            raise ValueError(f"{name} must be like {declared}, got {value}")
        if not isinstance(declared, tuple):
            assert isinstance(value, float | int)
            narrowed[name] = _narrower(name, float(declared), float(value))
            continue
        assert isinstance(value, Sequence)
        if len(value) != len(declared):
            raise ValueError(f"{name} needs {len(declared)} entries, got {len(value)}")
        narrowed[name] = tuple(
            own if new is None else _narrower(name, own, float(new))
            for own, new in zip(declared, value, strict=True)
        )
    return dataclasses.replace(safety, **narrowed)  # type: ignore[arg-type]


def _asked_for(name: str, declared: bool, wanted: Any) -> bool:
    if not isinstance(wanted, bool) or (declared and not wanted):
        raise ValueError(f"{name} can only be tightened: expected true, got {wanted!r}")
    return wanted


def _narrower(name: str, declared: float, wanted: float) -> float:
    if not 0.0 < wanted <= declared:
        raise ValueError(
            f"{name} can only be tightened: expected more than 0 and at most {declared:g}, "
            f"got {wanted:g}"
        )
    return wanted


def _equal(before: Observed, observed: Observed, key: str) -> bool:
    earlier, now = before.values.get(key), observed.values.get(key)
    return earlier is not None and now is not None and np.array_equal(earlier, now)


class SafetyGate:
    """Every action passes through here; every change that it makes is counted and logged.

    The log gets a line when interventions of a kind begin and end, not one a tick.
    """

    def __init__(self, embodiment: EmbodimentSpec, safety: SafetySpec) -> None:
        action = embodiment.action
        if len(safety.safe_action) != action.size:
            raise ValueError(
                f"the safety specification is for {len(safety.safe_action)} action entries, "
                f"the embodiment {embodiment.name!r} has {action.size}"
            )
        self._embodiment, self._safety = embodiment, safety
        self._low, self._high = np.array(action.low), np.array(action.high)
        self._step = np.array(safety.max_velocity) / embodiment.rate_hz
        self._jump = np.array(safety.max_jump)
        # Nothing was executed yet, so nothing is kept: the middle of the range stands for it.
        self._last = np.clip(np.zeros(action.size), self._low, self._high)
        self._moved = False
        self._followed: NDArray[np.float64] | None = None  # the last action that was proposed
        self._safe_since: int | None = None
        self._newest: Observed | None = None
        self._frozen: str | None = None
        self._current: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()
        self.interventions: deque[Intervention] = deque(maxlen=KEPT_INTERVENTIONS)

    def doubt(self, observed: Observed, now: float) -> str | None:
        """Why an observation cannot be decided on, or None. Call once a tick."""
        state = observed.values.get("observation.state")
        before, self._newest = self._newest, observed
        if state is None or not bool(np.isfinite(state).all()):
            return BAD_OBSERVATION
        age = now - observed.taken_at
        # A reading is at most as far ahead as a robot takes to make it after `now` was noted. By a
        # clock that is ahead, a dead sensor would never grow old.
        if not age >= -1.0 / self._embodiment.rate_hz:
            return WRONG_CLOCK
        if age > self._safety.max_observation_age:
            return STALE_OBSERVATION
        if before is not None and observed.taken_at != before.taken_at:
            self._frozen = self._repeated(before, observed)
        return self._frozen

    def _repeated(self, before: Observed, observed: Observed) -> str | None:
        """What of a new reading equals the last one to the bit, though it never should."""
        if self._safety.never_repeats and _equal(before, observed, "observation.state"):
            return FROZEN_OBSERVATION
        if self._safety.pictures_never_repeat and any(
            _equal(before, observed, key) for key in self._embodiment.image_keys
        ):
            return FROZEN_CAMERA
        return None

    def execute(
        self, tick: int, proposed: NDArray[np.float32] | None, doubt: str | None
    ) -> NDArray[np.float32]:
        """The action [A] to carry out instead of a proposed one, most often the same.

        doubt: a reason to take the safe action whatever is proposed. A proposal of None takes it
        as well.
        """
        reason = doubt or self._fault(tick, proposed)
        if reason is not None or proposed is None:
            reasons: tuple[str, ...] = (reason or NO_ACTION,)
            executed = self.safe_action()
            self._safe_since = tick if self._safe_since is None else self._safe_since
        else:
            executed, reasons = self._limited(proposed)
            self._followed, self._safe_since = executed, None
        self._note(tick, reasons, proposed, executed)
        self._last, self._moved = executed, True
        return executed.astype(np.float32)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the last executed action was not the proposed one; empty when it was."""
        return self._current

    def safe_action(self) -> NDArray[np.float64]:
        """The embodiment's safe action [A] now."""
        safe = self._safety.safe_action
        return np.array(
            [
                kept if wanted is None else wanted
                for wanted, kept in zip(safe, self._last, strict=True)
            ]
        )

    def _fault(self, tick: int, proposed: NDArray[np.float32] | None) -> str | None:
        """Why a proposal is no plausible action, or None."""
        if proposed is None:
            return NO_ACTION
        if proposed.shape != self._last.shape or not bool(np.isfinite(proposed).all()):
            return NOT_FINITE
        if self._moved and self._jumps(tick, proposed):
            return JUMP
        return None

    def _jumps(self, tick: int, proposed: NDArray[np.float32]) -> bool:
        """Whether a proposal is implausibly far from the actions before it.

        The safe action was nobody's proposal: the way back from it may be farther than a jump, and
        judged by it alone a robot that braked once might never move again. A proposal near the last
        one that was followed is as plausible. When the safe action has held for `max_action_age`,
        nothing that was decided before is in force, and only `max_velocity` limits the way back.
        """
        far = np.abs(proposed - self._last) > self._jump
        if self._safe_since is not None:
            held = (tick - self._safe_since) / self._embodiment.rate_hz
            if self._followed is None or held >= self._safety.max_action_age:
                return False
            far &= np.abs(proposed - self._followed) > self._jump
        return bool(far.any())

    def _limited(
        self, proposed: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        reasons = []
        within = np.clip(proposed.astype(np.float64), self._low, self._high)
        if not np.array_equal(within, proposed):
            reasons.append(POSITION)
        slowed = within
        if self._moved:
            slowed = np.clip(within, self._last - self._step, self._last + self._step)
            if not np.array_equal(slowed, within):
                reasons.append(VELOCITY)
        return slowed, tuple(reasons)

    def _note(
        self,
        tick: int,
        reasons: tuple[str, ...],
        proposed: NDArray[np.float32] | None,
        executed: NDArray[np.float64],
    ) -> None:
        for reason in reasons:
            self.counts[reason] += 1
            wanted = None if proposed is None else tuple(map(float, proposed))
            acted = tuple(map(float, executed))
            self.interventions.append(Intervention(tick, reason, wanted, acted))
        if reasons != self._current:
            for reason in set(reasons) - set(self._current):
                logger.warning("tick %d: intervention %s begins", tick, reason)
            for reason in set(self._current) - set(reasons):
                logger.warning("tick %d: intervention %s is over", tick, reason)
            self._current = reasons
