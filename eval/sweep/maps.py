"""The measures of the maps of a sweep's variants, a number a training.

Every job was explained over the same episodes (`helmsight explain metrics=true`), but drove them
itself. Moments and episodes are many and trainings few: what another training would change is the
larger doubt, and the interval is over trainings, with the spread of all variants together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from helmsight.eval.explain.measures import DECISION, EpisodeMeasures
from helmsight.eval.explain.measuring import read_measures
from helmsight.eval.records import listed
from helmsight.eval.statistics import Interval, mean_of_group, pooled_spread
from helmsight.eval.sweep.markdown import said, table


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
    """seeds[measure][map][variant]: the mean over all moments of each training.

    means: the same with the mean over the trainings and its interval.
    """

    variants: tuple[str, ...]
    seeds: dict[str, dict[str, dict[str, list[float]]]]

    @property
    def means(self) -> dict[str, dict[str, dict[str, Interval]]]:
        return {
            measure: {name: _means(variants) for name, variants in maps.items()}
            for measure, maps in self.seeds.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        means = {
            measure: {
                name: {variant: interval._asdict() for variant, interval in variants.items()}
                for name, variants in maps.items()
            }
            for measure, maps in self.means.items()
        }
        return {"seeds": self.seeds, "means": means}

    def table(self) -> str:
        """A Markdown table: a row a variant, `-` for a map that it does not have."""
        means = self.means
        shown = [means.get(column.measure, {}).get(column.map, {}) for column in COLUMNS]
        heads = ["maps", *(column.title for column in COLUMNS)]
        rows = []
        for variant in self.variants:
            cells = [
                said(by_variant[variant], column.form) if variant in by_variant else "-"
                for column, by_variant in zip(COLUMNS, shown, strict=True)
            ]
            rows.append([f"`{variant}`", *cells])
        return table(heads, rows)


def _means(variants: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    spread = pooled_spread(list(variants.values()))
    return {variant: mean_of_group(seeds, spread) for variant, seeds in variants.items()}


def compare_maps(folders: Mapping[str, Sequence[Path]], episodes: Sequence[int]) -> SweepMaps:
    """Measures of each variant; `folders` holds, for each, the explanation of every seed.

    episodes: those that count. A folder without measures is one of a policy that has no maps.
    Raises ValueError when one of the episodes was not measured.
    """
    seeds: dict[str, dict[str, dict[str, list[float]]]] = {}
    for variant, places in folders.items():
        for folder in places:
            for measure, name, mean in _training_means(_read(folder, episodes)):
                maps = seeds.setdefault(measure, {})
                maps.setdefault(name, {}).setdefault(variant, []).append(mean)
    return SweepMaps(tuple(folders), seeds)


def _read(folder: Path, episodes: Sequence[int]) -> list[EpisodeMeasures]:
    measures = read_measures(folder)
    missing = [episode for episode in episodes if episode not in measures]
    if measures and missing:
        raise ValueError(f"{folder}: the maps of episodes {listed(missing)} were not measured")
    return [measures[episode] for episode in episodes] if measures else []


def _training_means(entries: Sequence[EpisodeMeasures]) -> Iterator[tuple[str, str, float]]:
    """Measure, map and mean over all moments, of one training."""
    values: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        for measure, maps in entry.values.items():
            for name, moments in maps.items():
                values.setdefault((measure, name), []).extend(moments)
    for (measure, name), moments in values.items():
        yield measure, name, fmean(moments)
