"""Measures of many episodes together: means with intervals, differences in pairs, mean curves.

Moments of one episode are not independent, so every interval is taken between episodes
(`clustered_mean_interval`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from helmsight.eval.explain.maps import MAPS, TITLES
from helmsight.eval.explain.measures import DECISION, EpisodeMeasures
from helmsight.eval.statistics import Interval, clustered_mean_interval

# Whose differences from the others are reported, the first that the policy has.
SUBJECTS = ("attention", "gradient")


class Measure(NamedTuple):
    """How a measure is called and read. better: "more", "less" or "" where neither is."""

    group: str
    title: str
    unit: str
    better: str
    definition: str


MEASURES: dict[str, Measure] = {
    "rank_correlation": Measure(
        "Faithfulness",
        "rank correlation with masking",
        "",
        "more",
        "Spearman, over the tokens of a moment, with how far the actions move when a token is "
        "replaced by the usual one",
    ),
    "deletion_area": Measure(
        "Faithfulness",
        "deletion area",
        "",
        "more",
        "Mean movement of the actions while tokens are taken away, those first that the map "
        "calls most important",
    ),
    "insertion_area": Measure(
        "Faithfulness",
        "insertion area",
        "",
        "less",
        "Mean distance from the decision while tokens are put in, those first that the map "
        "calls most important",
    ),
    "attention_use": Measure(
        "Use",
        "actions with an even attention",
        "",
        "",
        "How far the actions move when the trained attention is the same for all tokens: what it "
        "is there for",
    ),
    "stability_variation": Measure(
        "Stability",
        "change in 0.1 s",
        "",
        "less",
        "Total variation from the map before, warped by the ego motion",
    ),
    "stability_transport": Measure(
        "Stability",
        "way in 0.1 s",
        "m",
        "less",
        "Sliced 1-Wasserstein distance from the map before, warped by the ego motion",
    ),
    "entropy": Measure(
        "Focus", "entropy", "", "", "Share of the largest possible; 1 is uniform, 0 a single token"
    ),
    "mass_on_obstacles": Measure(
        "Focus", "mass on obstacles", "", "", "Parked cars, boxes and kerbs; by the semantic label"
    ),
    "mass_on_target": Measure("Focus", "mass on the target slot", "", "", "By the semantic label"),
    "shift_variation": Measure(
        "Shift",
        "change with the looks",
        "",
        "less",
        "Total variation between the maps of one state in its own and in a shifted appearance",
    ),
    "shift_transport": Measure(
        "Shift",
        "way with the looks",
        "m",
        "less",
        "Sliced 1-Wasserstein distance between those two maps",
    ),
    "shift_action": Measure(
        "Shift",
        "actions with the looks",
        "",
        "less",
        "How far the actions move between the two appearances",
    ),
}


@dataclass(frozen=True)
class MeasureSummary:
    """means[measure][map], and differences[measure][map]: of `subject` minus that map, in pairs.

    curves[map]: deletion and insertion, means over all moments.
    """

    means: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]
    subject: str
    curves: dict[str, list[list[float]]]
    episodes: int
    moments: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form, as `summary.json` holds it."""

        def plain(table: dict[str, dict[str, Interval]]) -> dict[str, Any]:
            return {
                measure: {name: interval._asdict() for name, interval in maps.items()}
                for measure, maps in table.items()
            }

        return {
            "metrics": plain(self.means),
            "differences": {"of": self.subject, "from": plain(self.differences)},
            "curves": self.curves,
            "episodes": self.episodes,
            "moments": self.moments,
            "provenance": dict(self.provenance),
        }

    def table(self) -> str:
        """The means as plain text, one measure of one map a line."""
        lines = [f"{self.moments} moments of {self.episodes} episodes"]
        for measure, maps in self.means.items():
            title = f"{MEASURES[measure].group}: {MEASURES[measure].title}"
            lines.append(f"{title} {MEASURES[measure].unit}".rstrip())
            lines += [
                f"  {TITLES.get(name, name):<30} {_said(interval)}"
                for name, interval in maps.items()
            ]
        return "\n".join(lines)


def summarise_measures(
    episodes: Sequence[EpisodeMeasures], provenance: Mapping[str, Any]
) -> MeasureSummary:
    """Means over all moments of all episodes, with intervals between episodes."""
    order = [*MAPS, DECISION]
    means: dict[str, dict[str, Interval]] = {}
    differences: dict[str, dict[str, Interval]] = {}
    present = {name for entry in episodes for maps in entry.values.values() for name in maps}
    subject = next((name for name in SUBJECTS if name in present), "")
    for measure in MEASURES:
        rows = {
            name: [entry.values.get(measure, {}).get(name, []) for entry in episodes]
            for name in order
        }
        rows = {name: groups for name, groups in rows.items() if any(groups)}
        if rows:
            means[measure] = {
                name: clustered_mean_interval(groups) for name, groups in rows.items()
            }
        if subject in rows:
            differences[measure] = {
                name: clustered_mean_interval(_paired(rows[subject], groups))
                for name, groups in rows.items()
                if name not in (subject, DECISION)
            }
    return MeasureSummary(
        means,
        differences,
        subject,
        _mean_curves(episodes),
        sum(entry.moments > 0 for entry in episodes),
        sum(entry.moments for entry in episodes),
        provenance,
    )


def _paired(first: Sequence[list[float]], second: Sequence[list[float]]) -> list[list[float]]:
    """Differences moment by moment; an episode where one of them could not say is left out."""
    return [
        [a - b for a, b in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(first, second, strict=True)
        if len(ours) == len(theirs)
    ]


def _mean_curves(episodes: Sequence[EpisodeMeasures]) -> dict[str, list[list[float]]]:
    curves: dict[str, list[list[float]]] = {}
    for name in MAPS:
        having = [entry for entry in episodes if name in entry.curves and entry.moments]
        if having:
            stacked = np.array([entry.curves[name] for entry in having])  # [E, 2, S + 1]
            mean = np.average(stacked, axis=0, weights=[entry.moments for entry in having])
            curves[name] = mean.round(6).tolist()
    return curves


def _said(interval: Interval) -> str:
    if interval.value is None:
        return "n/a"
    limits = ""
    if interval.low is not None and interval.high is not None:
        limits = f"  [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{interval.value:8.3f}{limits}  n={interval.n}"
