"""The measures of the maps of a sweep's variants, pooled over their seeds.

Every job was explained over the same episodes (`helmsight explain metrics=true`), but drove them
itself. Episodes are the units of the intervals, as in `explain.summary`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from helmsight.eval.explain.measures import DECISION, EpisodeMeasures
from helmsight.eval.explain.measuring import read_measures
from helmsight.eval.statistics import Interval, clustered_mean_interval
from helmsight.eval.sweep.outcomes import said


class Column(NamedTuple):
    """One measure of one map, as the table has it."""

    title: str
    measure: str
    map: str
    form: str = "{:.2f}"


COLUMNS = (
    Column("faithfulness", "rank_correlation", "attention"),
    Column("of raw self-attention", "rank_correlation", "self_attention"),
    Column("of the control gradient", "rank_correlation", "gradient"),
    Column("deletion area", "deletion_area", "attention", "{:.3f}"),
    Column("insertion area", "insertion_area", "attention", "{:.3f}"),
    Column("actions without it", "attention_use", DECISION, "{:.3f}"),
    Column("change in 0.1 s", "stability_variation", "attention"),
    Column("entropy", "entropy", "attention"),
    Column("on obstacles", "mass_on_obstacles", "attention"),
    Column("on the target", "mass_on_target", "attention"),
    Column("change with the looks", "shift_variation", "attention"),
    Column("actions with the looks", "shift_action", DECISION, "{:.3f}"),
)


@dataclass(frozen=True)
class SweepMaps:
    """means[variant][measure][map], over all moments of all seeds."""

    means: dict[str, dict[str, dict[str, Interval]]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {
            variant: {
                measure: {name: interval._asdict() for name, interval in maps.items()}
                for measure, maps in measures.items()
            }
            for variant, measures in self.means.items()
        }

    def table(self) -> str:
        """A Markdown table: a row a variant, `-` for a map that it does not have."""
        heads = ["variant", *(column.title for column in COLUMNS)]
        lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for variant, measures in self.means.items():
            cells = [f"`{variant}`"]
            for column in COLUMNS:
                interval = measures.get(column.measure, {}).get(column.map)
                cells.append("-" if interval is None else said(interval, column.form))
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def compare_maps(folders: Mapping[str, Sequence[Path]]) -> SweepMaps:
    """Measures of each variant; `folders` holds, for each, the explanation of every seed.

    Raises ValueError when the jobs did not measure the same episodes.
    """
    entries = {
        variant: [read_measures(folder) for folder in seeds] for variant, seeds in folders.items()
    }
    _refuse_other_episodes(entries)
    return SweepMaps({variant: _pooled(seeds) for variant, seeds in entries.items()})


def _pooled(seeds: Sequence[Mapping[int, EpisodeMeasures]]) -> dict[str, dict[str, Interval]]:
    """Means [measure][map]; what all seeds saw in an episode is one group."""
    names = {
        (measure, name)
        for seed in seeds
        for entry in seed.values()
        for measure, maps in entry.values.items()
        for name in maps
    }
    means: dict[str, dict[str, Interval]] = {}
    for measure, name in sorted(names):
        groups = [
            [
                value
                for seed in seeds
                for value in seed[episode].values.get(measure, {}).get(name, [])
            ]
            for episode in sorted(seeds[0])
        ]
        means.setdefault(measure, {})[name] = clustered_mean_interval(groups)
    return means


def _refuse_other_episodes(
    entries: Mapping[str, Sequence[Mapping[int, EpisodeMeasures]]],
) -> None:
    expected = next(iter(entries.values()))[0].keys()
    for variant, seeds in entries.items():
        for seed in seeds:
            if seed.keys() != expected:
                raise ValueError(
                    f"{variant}: the maps of {len(seed)} episodes were measured, of others "
                    f"{len(expected)} or different ones; the same command over all variants "
                    "measures what is missing"
                )
