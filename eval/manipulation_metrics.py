"""Success rates of manipulation benchmarks, from episode records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from helmsight.eval.metrics import MetricDefinition
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.statistics import Interval, clustered_mean_interval, mean_interval, wilson

OUTCOMES = ("SR", "TR")
DEFINITIONS = {
    "SR": MetricDefinition("success", "%", "The goal held after a step, within the step limit"),
    "TR": MetricDefinition("timeout", "%", "The goal never held within the step limit"),
    "STEPS": MetricDefinition("steps", "", "Mean control steps to the goal, successes"),
    "AIT": MetricDefinition("inference time", "ms", "Mean time of a decision of the policy"),
}


def compute_metrics(records: Sequence[EpisodeRecord]) -> dict[str, Interval]:
    """Every metric of `DEFINITIONS`, over all tasks; records with errors are left out."""
    finished = [record for record in records if record.error is None]
    metrics = {
        name: wilson(sum(record.outcome == name for record in finished), len(finished)).scaled(100)
        for name in OUTCOMES
    }
    metrics["STEPS"] = mean_interval([float(r.steps) for r in finished if r.success])
    metrics["AIT"] = clustered_mean_interval([record.decision_ms for record in finished])
    return metrics


def rates_by_task(records: Sequence[EpisodeRecord]) -> dict[str, Interval]:
    """Success in percent of each task, with Wilson intervals, in the order of the tasks.

    Where the policy was told another task than the scene's own, of each scene and what was told.
    """
    groups: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for record in records:
        if record.error is None:
            groups[record.metrics["task_index"], _task_name(record)].append(record.success)
    return {
        name: wilson(sum(held), len(held)).scaled(100) for (_, name), held in sorted(groups.items())
    }


def _task_name(record: EpisodeRecord) -> str:
    index, name = record.metrics["task_index"], record.metrics["task_name"].replace("_", " ")
    return (
        f"scene {index}, told: {record.task}" if record.approach == "swapped" else f"{index} {name}"
    )


def worst_first(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Records with errors, then failures, then successes from the longest to the shortest."""

    def badness(record: EpisodeRecord) -> tuple[int, int, int]:
        rank = 0 if record.error is not None else 2 if record.success else 1
        return (rank, -record.steps, record.episode)

    return sorted(records, key=badness)
