"""The published parking metrics (E2E-Parking, CAA-Policy), from episode records.

Rates are percent of the episodes without error, with Wilson intervals. APE, AOE and APT are means
over the successes alone, with Student's t intervals. AIT is the mean over all decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from helmsight.eval.records import OUTCOMES, EpisodeRecord
from helmsight.eval.statistics import Interval, clustered_mean_interval, mean_interval, wilson


class MetricDefinition(NamedTuple):
    """How a metric is called, counted and read."""

    title: str
    unit: str
    definition: str


DEFINITIONS: dict[str, MetricDefinition] = {
    "TSR": MetricDefinition(
        "target success", "%", "In the target slot within 1.0 m, 0.6 m and 10°, held for 2 s"
    ),
    "TFR": MetricDefinition(
        "target fail", "%", "Stopped for 2 s near the target, within twice those tolerances"
    ),
    "NTSR": MetricDefinition("non-target success", "%", "Parked well, in another slot"),
    "NTFR": MetricDefinition("non-target fail", "%", "Parked badly, in another slot"),
    "CR": MetricDefinition("collision", "%", "Hit anything"),
    "OR": MetricDefinition("outside", "%", "Off the lot for more than 10 s"),
    "TR": MetricDefinition("timeout", "%", "Not parked within the time limit"),
    "APE": MetricDefinition("position error", "m", "Mean distance to the target pose, successes"),
    "AOE": MetricDefinition("orientation error", "°", "Mean heading error, successes"),
    "APT": MetricDefinition("parking time", "s", "Mean time to park, successes"),
    "AIT": MetricDefinition("inference time", "ms", "Mean time of a decision of the policy"),
}

_OVER_SUCCESSES = {
    "APE": "position_error",
    "AOE": "orientation_error",
    "APT": "parking_time",
}


def compute_metrics(records: Sequence[EpisodeRecord]) -> dict[str, Interval]:
    """Every metric of `DEFINITIONS` under its published name; records with errors are left out."""
    finished = [record for record in records if record.error is None]
    metrics = {
        name: wilson(sum(record.outcome == name for record in finished), len(finished)).scaled(100)
        for name in OUTCOMES
    }
    for name, key in _OVER_SUCCESSES.items():
        successes = [float(record.metrics[key]) for record in finished if record.success]
        metrics[name] = _not_negative(mean_interval(successes))
    times = [record.decision_ms for record in finished]
    metrics["AIT"] = _not_negative(clustered_mean_interval(times))
    return metrics


def _not_negative(interval: Interval) -> Interval:
    """Errors and times: few values give an interval that reaches below what there can be."""
    return interval if interval.low is None else interval._replace(low=max(0.0, interval.low))


# Worst first: what hurts most, then what is farthest from done.
_BADNESS = {name: rank for rank, name in enumerate(("CR", "OR", "NTFR", "NTSR", "TR", "TFR"))}


def worst_first(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Records ordered from errors and collisions to the most accurate success."""

    def badness(record: EpisodeRecord) -> tuple[int, float, int]:
        rank = -1 if record.error is not None else _BADNESS.get(record.outcome, len(_BADNESS))
        error = record.metrics.get("position_error")
        return (rank, -float(error) if error is not None else 0.0, record.episode)

    return sorted(records, key=badness)
