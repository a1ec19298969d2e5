"""The control loop: one action a period, whatever the server does.

    robot.observe -> gate.doubt -> decider (thread) -> chunks, merged by age -> gate.execute
          ^                                                                        |
          +------------------------------ robot.act <------------------------------+

A tick waits for the decision on its own observation for a part of the period, so that a quick
server's actions are carried out without delay; it then goes on with what earlier chunks say about
this period, or with the safe action. Between two ticks it listens: when a server turns out to be
lost, the safe action is carried out then, not at the next tick.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np

from helmsight.deploy.chunks import MERGES, Chunk, ChunkSchedule
from helmsight.deploy.decider import RECONNECTED, Decider, Trouble
from helmsight.deploy.recorder import FlightRecorder, Moment
from helmsight.deploy.robot import Robot, RobotLostError
from helmsight.deploy.safety import SafetyGate
from helmsight.envs.spec import SafetySpec

logger = logging.getLogger(__name__)

ROBOT_LOST, TIME_IS_UP, STOPPED = "robot_lost", "time_is_up", "stopped"
BROKEN_OFF = "broken_off"  # by an error, or Ctrl-C
# A tick that begins later than this part of the period counts as late.
LATE = 0.1


@dataclass(frozen=True)
class ControllerSettings:
    """How the loop decides.

    merge: how chunks that speak about the same period become one action (`chunks.MERGES`).
    decide_every: control periods from one decision to the next at the least.
    wait_fraction: part of the period for which a tick waits for its own decision.
    max_seconds: end of the drive; None for no end.
    """

    merge: str = "latest"
    decide_every: int = 1
    wait_fraction: float = 0.5
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.merge not in MERGES:
            raise ValueError(f"unknown merge {self.merge!r}; expected one of {', '.join(MERGES)}")
        if self.decide_every < 1:
            raise ValueError(f"decide_every must be at least 1, got {self.decide_every}")
        if not 0.0 <= self.wait_fraction <= 0.8:
            raise ValueError(f"wait_fraction must be 0 to 0.8, got {self.wait_fraction}")


@dataclass
class DriveRecord:
    """What happened on a drive. Times are in milliseconds where their name says so."""

    outcome: str = BROKEN_OFF
    ticks: int = 0
    missed_ticks: int = 0
    decisions: int = 0
    late_ms: list[float] = field(default_factory=list)
    decision_ms: list[float] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    interventions: Counter[str] = field(default_factory=Counter)
    period: float = 0.1

    @property
    def late_share(self) -> float:
        """Share of ticks that were late by more than a tenth of the period, or never came."""
        late = sum(ms > 1000.0 * LATE * self.period for ms in self.late_ms) + self.missed_ticks
        return late / max(self.ticks + self.missed_ticks, 1)

    def summary(self) -> dict[str, Any]:
        """JSON-compatible form, with percentiles instead of every time."""
        return {
            "outcome": self.outcome,
            "ticks": self.ticks,
            "missed_ticks": self.missed_ticks,
            "seconds": round(self.period * (self.ticks + self.missed_ticks), 3),
            "late_share": round(self.late_share, 5),
            "late_ms": _percentiles(self.late_ms),
            "decisions": self.decisions,
            "decision_ms": _percentiles(self.decision_ms),
            "troubles": dict(self.troubles),
            "interventions": dict(self.interventions),
        }


class Controller:
    """Drives a robot with a decider's chunks; see the module's docstring."""

    def __init__(
        self,
        robot: Robot,
        decider: Decider,
        settings: ControllerSettings,
        safety: SafetySpec,
        recorder: FlightRecorder | None = None,
    ) -> None:
        self._robot, self._decider, self._settings = robot, decider, settings
        self._recorder = recorder
        self.period = 1.0 / robot.embodiment.rate_hz
        self.gate = SafetyGate(robot.embodiment, safety)
        self._schedule = ChunkSchedule(settings.merge, safety.max_action_age)
        self._asked_at, self._asked_tick = -np.inf, -settings.decide_every
        self.record = DriveRecord(period=self.period)
        self._now: Moment | None = None
        self._troubles: list[str] = []

    def run(self, stop: Event | None = None) -> DriveRecord:
        """Drive until the robot's task ends, time is up, the robot is lost or `stop` is set.

        The robot is stopped in any case, on Ctrl-C as well. It must be connected.
        """
        record = self.record
        try:
            record.outcome = self._loop(stop or Event())
        except RobotLostError as error:
            logger.error("the robot is lost: %s", error)
            record.outcome = ROBOT_LOST
        finally:
            self._robot.stop()
            record.interventions = self.gate.counts
        return record

    def _loop(self, stop: Event) -> str:
        record, begin = self.record, time.monotonic()
        tick = 0  # of the clock: a tick that is missed is left out, never made up for
        while not stop.is_set():
            due = begin + tick * self.period
            if self._settings.max_seconds is not None and due - begin >= self._settings.max_seconds:
                return TIME_IS_UP
            self._rest(due)
            now = time.monotonic()
            record.late_ms.append(1000.0 * (now - due))
            outcome = self.tick(tick, now)
            record.ticks += 1
            if outcome:
                return outcome
            after = max(int((time.monotonic() - begin) / self.period), tick) + 1
            record.missed_ticks += after - tick - 1
            tick = after
        return STOPPED

    def tick(self, tick: int, now: float) -> str:
        """One control period that begins `now`; returns the task's outcome once it has ended."""
        observed = self._robot.observe()
        if observed.outcome:
            return observed.outcome
        self._troubles = []
        doubt = self.gate.doubt(observed, now)
        self._take_in(None)
        due = tick - self._asked_tick >= self._settings.decide_every
        if doubt is None and due and self._decider.idle and observed.taken_at > self._asked_at:
            self._asked_at, self._asked_tick = observed.taken_at, tick
            self._decider.submit(observed)
            self._take_in(now + self._settings.wait_fraction * self.period)
        proposed = self._schedule.action(now)
        executed = self.gate.execute(tick, proposed, doubt)
        self._robot.act(executed)
        chunk, reasons = self._schedule.newest, self.gate.reasons
        self._now = Moment(tick, now, observed, chunk, proposed, executed, reasons, self._troubles)
        if self._recorder is not None:
            self._recorder.note(self._now)
        return ""

    def _rest(self, due: float) -> None:
        """Wait for the next tick; trouble meanwhile brings the safe action at once."""
        while time.monotonic() < due:
            trusted = self._schedule.newest is not None
            self._take_in(due)
            if self._now is None or not trusted or self._schedule.newest is not None:
                continue
            self._now.executed = self.gate.execute(self._now.tick, None, None)
            self._now.reasons = self.gate.reasons
            self._robot.act(self._now.executed)

    def _take_in(self, wait_until: float | None) -> None:
        """Chunks into the schedule; trouble empties it, since its source is no longer trusted."""
        for happened in self._decider.happened(wait_until):
            if isinstance(happened, Chunk):
                self.record.decisions += 1
                age = happened.arrived_at - happened.observed_at
                self.record.decision_ms.append(1000.0 * age)
                self._schedule.add(happened)
                continue
            self._trouble(happened)

    def _trouble(self, trouble: Trouble) -> None:
        self.record.troubles[trouble.kind] += 1
        self._troubles.append(trouble.kind)
        if trouble.kind == RECONNECTED:
            logger.warning("connected to the server again")
            return
        self._schedule.clear()
        if self.record.troubles[trouble.kind] <= 20:  # a server that keeps failing fills no disk
            logger.warning("%s: %s", trouble.kind, trouble.text)


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p99, largest = np.percentile(values, (50.0, 99.0, 100.0))
    return {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(largest, 3)}
