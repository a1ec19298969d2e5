"""How the episodes of a sweep's variants ended: levels, and paired differences to the baseline.

The difference of a variant to the baseline is taken an episode: the mean over the variant's seeds
minus the mean over the baseline's. It has two intervals, because two things would come out
otherwise another time:

- other episodes: they are the units of the first, so that several seeds in one world do not count
  as several worlds;
- other seeds: the second is over trainings, on these episodes. How far trainings of one variant
  differ is taken from all variants together, since a few seeds of one say little of it; but not
  from those that always or never end so, and it is never less than what episodes decided one by
  one would give.

Both are for one comparison that was chosen beforehand: of ten variants that are all like the
baseline, one or another will leave 0 out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from helmsight.eval.episode_kinds import EpisodeKind, episode_kind
from helmsight.eval.records import EpisodeRecord, listed, read_evaluation
from helmsight.eval.statistics import (
    Interval,
    Spread,
    clustered_paired_difference,
    clustered_proportion,
    difference_of_means,
    independent_spread,
    mean_interval,
    pooled_spread,
)
from helmsight.eval.sweep.markdown import said, said_limits, table

Runs = Sequence[Mapping[int, EpisodeRecord]]


@dataclass(frozen=True)
class VariantOutcomes:
    """A variant in one evaluation, rates in percent.

    level: rates pooled over seeds. seeds: the rates of each seed alone. difference: to the
    baseline, in points, paired by episode; difference_of_seeds: the same with the interval over
    trainings; both None for the baseline itself. decision_ms: mean time of a decision, in
    milliseconds, as the evaluations' workers had it, with the interval between the evaluations: how
    busy a machine was is common to all decisions of one.
    """

    level: dict[str, Interval]
    seeds: dict[str, list[float]]
    difference: dict[str, Interval] | None
    difference_of_seeds: dict[str, Interval] | None
    decision_ms: Interval

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {
            "metrics": _plain(self.level),
            "seeds": self.seeds,
            "difference": self.difference and _plain(self.difference),
            "difference_of_seeds": self.difference_of_seeds and _plain(self.difference_of_seeds),
            "decision_ms": self.decision_ms._asdict(),
        }


def _plain(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in intervals.items()}


@dataclass(frozen=True)
class SweepOutcomes:
    """Results by evaluation (such as `cluttered-test`) and variant, the baseline first.

    rates: the outcomes whose shares are compared, the success first.
    """

    baseline: str
    rates: tuple[str, ...]
    results: dict[str, dict[str, VariantOutcomes]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {
            evaluation: {variant: result.to_dict() for variant, result in variants.items()}
            for evaluation, variants in self.results.items()
        }

    def table(self) -> str:
        """A Markdown table: a row a variant and evaluation."""
        heads = ["evaluation", "variant"]
        for name in self.rates:
            heads += [f"{name}, %", "each seed", "over baseline", "with other seeds"]
        heads.append("decision, ms")
        rows = []
        for evaluation, variants in self.results.items():
            for variant, result in variants.items():
                cells = [evaluation, f"`{variant}`"]
                cells += [cell for name in self.rates for cell in _rate_cells(result, name)]
                cells.append(said(result.decision_ms, "{:.1f}"))
                rows.append(cells)
        return table(heads, rows)


def _rate_cells(result: VariantOutcomes, rate: str) -> list[str]:
    cells = [
        said(result.level[rate], "{:.1f}"),
        ", ".join(f"{alone:.1f}" for alone in result.seeds[rate]),
    ]
    if result.difference is None or result.difference_of_seeds is None:
        return [*cells, "baseline", ""]
    limits = said_limits(result.difference_of_seeds[rate], "{:+.1f}")
    return [*cells, said(result.difference[rate], "{:+.1f}"), limits]


def compare_outcomes(
    folders: Mapping[str, Sequence[Path]],
    baseline: str,
    evaluations: Mapping[str, Sequence[int]],
) -> SweepOutcomes:
    """Compare variants; `folders` holds, for each, a folder a seed with the evaluations in it.

    evaluations: by name, the episodes that count; what else lies on disk does not. Raises
    ValueError when a job did not run one of them, or any episode of its ended in an error.
    """
    kind = _kind(folders[baseline][0] / next(iter(evaluations)))
    results: dict[str, dict[str, VariantOutcomes]] = {}
    for evaluation, episodes in evaluations.items():
        runs = {
            variant: [_read(folder / evaluation, episodes) for folder in seeds]
            for variant, seeds in folders.items()
        }
        results[evaluation] = _compare(runs, baseline, kind.rates)
    return SweepOutcomes(baseline, kind.rates, results)


def _read(folder: Path, episodes: Sequence[int]) -> dict[int, EpisodeRecord]:
    records = read_evaluation(folder)
    missing = [episode for episode in episodes if episode not in records]
    if missing:
        raise ValueError(f"{folder}: episodes {listed(missing)} were not driven")
    return {episode: records[episode] for episode in episodes}


def _kind(evaluation: Path) -> EpisodeKind:
    identity = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    return episode_kind(identity["env"])


def _compare(
    runs: Mapping[str, Runs], baseline: str, rates: Sequence[str]
) -> dict[str, VariantOutcomes]:
    outcomes = {variant: _alone(seeds, rates) for variant, seeds in runs.items()}
    spreads = {rate: _spread_of_seeds(runs, rate) for rate in rates}
    compared = {}
    for variant, result in outcomes.items():
        if variant == baseline:
            compared[variant] = result
            continue
        compared[variant] = replace(
            result,
            difference={
                rate: clustered_paired_difference(
                    _by_episode(runs[variant], rate), _by_episode(runs[baseline], rate)
                ).scaled(100)
                for rate in rates
            },
            difference_of_seeds={
                rate: difference_of_means(
                    result.seeds[rate], outcomes[baseline].seeds[rate], spreads[rate]
                ).within(-100.0, 100.0)
                for rate in rates
            },
        )
    return compared


def _spread_of_seeds(runs: Mapping[str, Runs], rate: str) -> Spread:
    """How far trainings of one variant differ in a rate, in points."""
    undecided = [
        by_episode
        for by_episode in (_by_episode(seeds, rate) for seeds in runs.values())
        if 0 < sum(map(sum, by_episode)) < sum(map(len, by_episode))
    ]
    if not undecided:
        return Spread(None, 0)
    each = [[100.0 * fmean(run) for run in zip(*episodes, strict=True)] for episodes in undecided]
    least = fmean(independent_spread(episodes) ** 2 for episodes in undecided) ** 0.5
    return pooled_spread(each, 100.0 * least)


def _alone(seeds: Runs, rates: Sequence[str]) -> VariantOutcomes:
    """A variant's levels, without any comparison."""
    level, each = {}, {}
    for rate in rates:
        by_episode = _by_episode(seeds, rate)
        level[rate] = clustered_proportion(by_episode).scaled(100)
        each[rate] = [100.0 * fmean(run) for run in zip(*by_episode, strict=True)]
    times = [[ms for record in run.values() for ms in record.decision_ms] for run in seeds]
    decision_ms = mean_interval([fmean(run) for run in times if run]).within(0.0, math.inf)
    return VariantOutcomes(level, each, None, None, decision_ms)


def _by_episode(runs: Runs, outcome: str) -> list[list[bool]]:
    """For each episode, in which of the runs it ended so."""
    return [[run[episode].outcome == outcome for run in runs] for episode in sorted(runs[0])]
