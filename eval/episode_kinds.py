"""How the episodes of each kind of environment are counted, ordered and described."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from helmsight.envs.registration import LIBERO_ID
from helmsight.eval import manipulation_metrics, metrics
from helmsight.eval.metrics import MetricDefinition
from helmsight.eval.records import OUTCOMES, EpisodeRecord
from helmsight.eval.statistics import Interval


class Column(NamedTuple):
    """A column of the table of all episodes; without digits its values are text."""

    heading: str
    read: Callable[[EpisodeRecord], Any]
    digits: int | None = None


@dataclass(frozen=True)
class EpisodeKind:
    """What an evaluation says of its episodes.

    outcomes: how an episode can end, the success first. rates: the outcomes by whose shares
    variants of a policy are compared, the success first. units: of the metrics beside an episode.
    tasks: success rates by task, nothing where tasks are not told apart. task: which one an episode
    is of, likewise. title and approach: what
    the episodes are about, in words. columns: of the table of all episodes, beside those that every
    kind has. paired: what two evaluations' successes are
    compared by. verb: what a successful episode did.
    """

    rate_hz: int
    outcomes: tuple[str, ...]
    rates: tuple[str, ...]
    definitions: Mapping[str, MetricDefinition]
    compute_metrics: Callable[[Sequence[EpisodeRecord]], dict[str, Interval]]
    worst_first: Callable[[Sequence[EpisodeRecord]], list[EpisodeRecord]]
    tasks: Callable[[Sequence[EpisodeRecord]], dict[str, Interval]]
    task: Callable[[EpisodeRecord], Hashable]
    title: Callable[[EpisodeRecord], str]
    approach: Callable[[EpisodeRecord], str]
    columns: tuple[Column, ...]
    units: Mapping[str, str]
    paired: Mapping[str, Callable[[EpisodeRecord], Any]]
    verb: str
    film_note: str

    @property
    def success(self) -> str:
        """The outcome that is the success, and its rate."""
        return self.outcomes[0]

    def outcome(self, record: EpisodeRecord) -> str:
        """How an episode ended: one of `outcomes`, or "error"."""
        known = record.error is None and record.outcome in self.outcomes
        return record.outcome if known else "error"

    def meaning(self, outcome: str) -> str:
        """An outcome in words."""
        return "error" if outcome == "error" else f"{outcome} · {self.definitions[outcome].title}"


PARKING = EpisodeKind(
    rate_hz=10,
    outcomes=OUTCOMES,
    rates=("TSR", "CR"),
    definitions=metrics.DEFINITIONS,
    compute_metrics=metrics.compute_metrics,
    worst_first=metrics.worst_first,
    tasks=lambda records: {},
    task=lambda record: None,
    title=lambda record: f"Parking in the {record.family} lot, split “{record.split}”",
    approach=lambda record: f"{record.approach} parking",
    columns=(
        Column("APE (m)", lambda record: record.metrics.get("position_error"), 2),
        Column("AOE (°)", lambda record: record.metrics.get("orientation_error"), 2),
        Column("Time (s)", lambda record: record.steps / 10.0, 1),
        Column("Hit", lambda record: record.metrics.get("collided_with")),
    ),
    units={"position_error": " m", "orientation_error": "°", "parking_time": " s"},
    paired={
        "APE": lambda record: record.metrics.get("position_error"),
        "AOE": lambda record: record.metrics.get("orientation_error"),
        "APT": lambda record: record.metrics.get("parking_time"),
    },
    verb="parked",
    film_note=(
        "spread over their position errors. Cameras at the left, bird's eye at the right with the "
        "predicted classes filled and the true ones outlined; the policy's attention glows over "
        "both. Green: the target pose that the policy was given. Amber: its predicted waypoints."
    ),
)
MANIPULATION = EpisodeKind(
    rate_hz=20,
    outcomes=manipulation_metrics.OUTCOMES,
    rates=("SR",),
    definitions=manipulation_metrics.DEFINITIONS,
    compute_metrics=manipulation_metrics.compute_metrics,
    worst_first=manipulation_metrics.worst_first,
    tasks=manipulation_metrics.rates_by_task,
    task=lambda record: record.metrics.get("task_index"),
    title=lambda record: f"{record.family}, {record.split}",
    approach=lambda record: f"instruction {record.approach}",
    columns=(
        Column("Instruction", lambda record: record.task),
        Column("Scene", lambda record: record.metrics.get("scene"), 0),
        Column("Time (s)", lambda record: record.steps / 20.0, 1),
    ),
    units={},
    paired={"STEPS": lambda record: record.steps},
    verb="solved",
    film_note=(
        "spread over their lengths. Both cameras; the policy's attention glows over them. A ring "
        "marks what a policy that points takes the instruction to be about, a square its place."
    ),
)


def episode_kind(environment: str) -> EpisodeKind:
    """The kind of episodes of an environment, by its Gymnasium id."""
    return MANIPULATION if environment.rpartition(":")[2] == LIBERO_ID else PARKING
