"""How far the tracked target drifts from the true one, for one motion model and another.

Drift is the error at the end of an episode, measured as the placement error that a car parked
perfectly at the tracked target would have: it is compared with the box in which parking succeeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, wrap_angle
from helmsight.envs.parking.motion_model import MotionEstimate, MotionModel
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.target_tracker import TargetTracker
from helmsight.envs.parking.task import SUCCESS_TOLERANCE, PlacementError, placement_error
from helmsight.eval.sensor_streams import Drive, SensorStream
from helmsight.eval.statistics import Interval, clustered_mean_interval, mean_interval, wilson

COMPONENTS = ("x", "y", "yaw")
MOVING = 0.005
"""A car that moves at least so far in a control period counts as moving, in metres."""


@dataclass(frozen=True)
class Drift:
    """One episode, one motion model.

    placement: error of a car parked perfectly at the tracked target. deviations [T, 3]: errors of
    each period's motion in units of the standard deviation that the model claimed; moving [T].
    end: error of the tracked target in the vehicle frame, in such units too. Both are None for a
    model that claims nothing. microseconds: of one update of the tracker, on average.
    """

    drive: Drive
    placement: PlacementError
    deviations: NDArray[np.float64] | None
    moving: NDArray[np.bool_]
    end: NDArray[np.float64] | None
    microseconds: float

    @property
    def share_of_box(self) -> float:
        """Largest entry of the error as a share of what success allows."""
        return max(
            abs(error) / limit
            for error, limit in zip(self.placement, SUCCESS_TOLERANCE, strict=True)
        )


class _Remembered:
    """A motion model that keeps what it said."""

    def __init__(self, model: MotionModel) -> None:
        self._model = model
        self.said: list[MotionEstimate] = []

    def start(self, reading: SensorReading) -> None:
        self._model.start(reading)
        self.said = []

    def update(self, command: VehicleCommand, reading: SensorReading) -> MotionEstimate:
        self.said.append(self._model.update(command, reading))
        return self.said[-1]


def measure_drift(
    drive: Drive, stream: SensorStream, scenario: Scenario, model: MotionModel
) -> Drift:
    """Track the target along a stream and compare with the truth."""
    target = scenario.target
    remembered = _Remembered(model)
    tracker = TargetTracker(stream.pose(0).relative(target), stream.reading(0), remembered)
    started = time.perf_counter()
    for period in range(len(stream.commands)):
        tracker.update(stream.command(period), stream.reading(period + 1))
    elapsed = time.perf_counter() - started
    end = stream.pose(-1)
    true_motions = [
        stream.pose(period).relative(stream.pose(period + 1))
        for period in range(len(stream.commands))
    ]
    # Where in the lot the tracker believes the target to be.
    believed = end.transform(tracker.target)
    truth = end.relative(target)
    error = _difference(tracker.target, truth)
    spread = tracker.covariance
    return Drift(
        drive,
        placement_error(scenario.target_slot, scenario.approach, believed),
        _deviations(remembered.said, true_motions),
        np.array([math.hypot(motion.x, motion.y) >= MOVING for motion in true_motions]),
        None if spread is None else error / np.sqrt(np.maximum(np.diag(spread), 1e-18)),
        1e6 * elapsed / max(len(stream.commands), 1),
    )


def _deviations(
    said: Sequence[MotionEstimate], truths: Sequence[Pose]
) -> NDArray[np.float64] | None:
    rows = []
    for estimate, truth in zip(said, truths, strict=True):
        if estimate.variance is None:
            return None
        rows.append(_difference(estimate.motion, truth) / np.sqrt(estimate.variance))
    return np.array(rows).reshape(-1, 3)


def _difference(first: Pose, second: Pose) -> NDArray[np.float64]:
    yaw = wrap_angle(first.yaw - second.yaw)
    return np.array([first.x - second.x, first.y - second.y, yaw])


# ---- Over many episodes ----


def summarise_drift(drifts: Sequence[Drift]) -> dict[str, Any]:
    """Figures of one model over some episodes, JSON-compatible; intervals are of 95 %."""
    position = [drift.placement.distance for drift in drifts]
    yaw = [math.degrees(abs(drift.placement.yaw)) for drift in drifts]
    box = [drift.share_of_box for drift in drifts]
    outside = sum(share > 1.0 for share in box)
    figures: dict[str, Any] = {
        "episodes": len(drifts),
        "position_m": _figure(position),
        "yaw_deg": _figure(yaw),
        "longitudinal_m": _figure([abs(drift.placement.longitudinal) for drift in drifts]),
        "lateral_m": _figure([abs(drift.placement.lateral) for drift in drifts]),
        "share_of_success_box": _figure(box),
        "outside_success_box": wilson(outside, len(drifts))._asdict(),
        "microseconds_per_update": _figure([drift.microseconds for drift in drifts]),
    }
    if all(drift.deviations is not None for drift in drifts):
        figures["calibration"] = _calibration(drifts)
    return figures


def paired_drift(first: Sequence[Drift], second: Sequence[Drift]) -> dict[str, Any]:
    """Mean differences, first minus second, over the same episodes; below 0 the first is better.

    Raises ValueError where the episodes differ.
    """
    if [drift.drive for drift in first] != [drift.drive for drift in second]:
        raise ValueError("two models are compared over the same episodes in the same order")
    pairs = list(zip(first, second, strict=True))
    return {
        "position_m": mean_interval(
            [a.placement.distance - b.placement.distance for a, b in pairs]
        )._asdict(),
        "yaw_deg": mean_interval(
            [math.degrees(abs(a.placement.yaw) - abs(b.placement.yaw)) for a, b in pairs]
        )._asdict(),
    }


def _figure(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean with its interval, median, 95th percentile and maximum."""
    median, high = np.percentile(values, (50.0, 95.0)).tolist()
    return {**mean_interval(values)._asdict(), "median": median, "p95": high, "max": max(values)}


def _calibration(drifts: Sequence[Drift]) -> dict[str, Any]:
    """Share of truths within 1 and 2 claimed standard deviations; 68.3 and 95.4 % if honest.

    Of single periods (all, and of a moving car; intervals robust to dependence within an episode)
    and of the tracked target at the end of the episodes.
    """
    periods = [drift.deviations for drift in drifts if drift.deviations is not None]
    moving = [drift.deviations[drift.moving] for drift in drifts if drift.deviations is not None]
    ends = [drift.end[None] for drift in drifts if drift.end is not None]
    return {
        "period": _shares(periods, clustered_mean_interval),
        "moving_period": _shares(moving, clustered_mean_interval),
        "end_of_episode": _shares(ends, _proportion),
    }


def _proportion(groups: list[list[float]]) -> Interval:
    """Of groups of one value each, 1 or 0."""
    return wilson(sum(round(group[0]) for group in groups), len(groups))


def _shares(
    groups: Iterable[NDArray[np.float64]],
    interval: Callable[[list[list[float]]], Interval],
) -> dict[str, dict[str, Any]]:
    """Per component and number of deviations the share within; groups [T, 3] are episodes."""
    within = [np.abs(group) for group in groups]
    return {
        name: {
            f"within_{count}_sigma": interval(
                [(group[:, column] <= count).astype(float).tolist() for group in within]
            )._asdict()
            for count in (1, 2)
        }
        for column, name in enumerate(COMPONENTS)
    }
