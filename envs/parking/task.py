"""The parking task: when an episode ends and what it counts as.

Outcomes carry the names and thresholds of the published closed-loop evaluation (Yang et al. 2024,
E2E-Parking; arXiv 2509.11090, CAA-Policy). Nothing here knows a simulator: the task sees commands,
true motion and the first thing hit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from helmsight.envs.geometry import Pose, wrap_angle
from helmsight.envs.parking.lot import Slot
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, CONTROL_RATE_HZ, EGO

OUTCOMES = ("TSR", "TFR", "NTSR", "NTFR", "CR", "OR", "TR")

STOP_SPEED = 1e-3 / 3.6
"""Slower than this the car stands: 1e-3 km/h in m/s."""
HOLD_PERIODS = 2 * CONTROL_RATE_HZ
"""A stop counts once it lasted longer than this many control periods (2 s)."""
OUTSIDE_PERIODS = 10 * CONTROL_RATE_HZ
"""The car is lost once it was outside the lot for longer than this (10 s)."""


class PlacementError(NamedTuple):
    """Where the body's middle is in the frame of a slot's middle: metres, metres, radians."""

    longitudinal: float
    lateral: float
    yaw: float

    @property
    def distance(self) -> float:
        return math.hypot(self.longitudinal, self.lateral)

    def within(self, tolerance: PlacementError) -> bool:
        """Whether no entry is farther from zero than `tolerance` allows."""
        return all(abs(error) <= limit for error, limit in zip(self, tolerance, strict=True))


SUCCESS_TOLERANCE = PlacementError(1.0, 0.6, math.radians(10.0))
NEAR_TOLERANCE = PlacementError(2.0, 1.2, math.radians(20.0))


def placement_error(slot: Slot, approach: str, rear_axle: Pose) -> PlacementError:
    """Error of a car with its rear axle at `rear_axle` (lot frame) parked in `slot`.

    Measured between the middle of the body and the middle of the slot, in the frame of the parked
    pose: longitudinal along the slot, towards the car's front; lateral to its left.
    """
    middle = Pose(slot.x, slot.y, slot.target(approach).yaw)
    body = rear_axle.transform(Pose(EGO.center_offset, 0.0, 0.0))
    error = middle.relative(body)
    return PlacementError(error.x, error.y, wrap_angle(error.yaw))


def task_instruction(approach: str) -> str:
    """The task in words, as data sets and policies get it."""
    direction = {"reverse": "Reverse", "forward": "Drive forward"}[approach]
    return f"{direction} into the target slot and stop."


class ParkingTask:
    """Follows one episode and decides its outcome.

    Call `update` once a control period. The first outcome stands; `metrics` describes the episode
    up to the last update.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.outcome: str | None = None
        self.steps = 0
        self._time_limit_steps = round(scenario.time_limit * CONTROL_RATE_HZ)
        self._stopped_periods = 0
        self._outside_periods = 0
        self._collided_with: str | None = None
        self._error = placement_error(scenario.target_slot, scenario.approach, scenario.start)

    @property
    def succeeded(self) -> bool:
        return self.outcome == "TSR"

    @property
    def timed_out(self) -> bool:
        return self.outcome == "TR"

    def update(
        self, command: VehicleCommand, state: VehicleState, collided_with: str | None
    ) -> str | None:
        """Take in one control period: its command, the motion after it and the first thing hit.

        Returns the outcome, one of `OUTCOMES`, or None while the episode goes on.
        """
        if self.outcome is not None:
            raise RuntimeError(f"the episode has ended with {self.outcome}; start a new task")
        self.steps += 1
        self._collided_with = collided_with
        scenario = self.scenario
        self._error = placement_error(scenario.target_slot, scenario.approach, state.pose)
        stopped = self._stop_test(command, state)
        self._stopped_periods = self._stopped_periods + 1 if stopped else 0
        outside = not scenario.lot.contains(state.pose.x, state.pose.y)
        self._outside_periods = self._outside_periods + 1 if outside else 0
        self.outcome = self._decide(state)
        return self.outcome

    def metrics(self) -> dict[str, Any]:
        """The episode's figures; errors are to the target slot, whatever the outcome.

        position_error in metres, orientation_error in degrees, parking_time in seconds until the
        final stop began (until now, where the car does not stand).
        """
        return {
            "outcome": self.outcome,
            "position_error": self._error.distance,
            "orientation_error": math.degrees(abs(self._error.yaw)),
            "parking_time": self._parking_time(),
            "steps": self.steps,
            "collided_with": self._collided_with,
        }

    def _stop_test(self, command: VehicleCommand, state: VehicleState) -> bool:
        """Throttle released, standing and, as published for reverse parking, reverse engaged."""
        gear_fits = command.reverse or self.scenario.approach == "forward"
        return command.acceleration <= 0.0 and abs(state.speed) < STOP_SPEED and gear_fits

    def _decide(self, state: VehicleState) -> str | None:
        if self._collided_with is not None:
            return "CR"
        if self._stopped_periods > HOLD_PERIODS:
            parked = self._parked_outcome(state)
            if parked is not None:
                return parked
        if self._outside_periods > OUTSIDE_PERIODS:
            return "OR"
        return "TR" if self.steps >= self._time_limit_steps else None

    def _parked_outcome(self, state: VehicleState) -> str | None:
        """What a car that holds still counts as; None where it stands at no slot."""
        scenario = self.scenario
        if self._error.within(SUCCESS_TOLERANCE):
            return "TSR"
        if self._error.within(NEAR_TOLERANCE):
            return "TFR"
        others = [
            placement_error(slot, scenario.approach, state.pose)
            for slot in scenario.lot.slots()
            if slot != scenario.target_slot
        ]
        if any(error.within(SUCCESS_TOLERANCE) for error in others):
            return "NTSR"
        return "NTFR" if any(error.within(NEAR_TOLERANCE) for error in others) else None

    def _parking_time(self) -> float:
        since_the_stop_began = max(self._stopped_periods - 1, 0)
        return (self.steps - since_the_stop_began) * CONTROL_PERIOD
