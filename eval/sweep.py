"""Variants of a policy over the same episodes with several seeds: levels, and paired differences.

The difference of a variant to the baseline is taken an episode: the mean over the variant's seeds
minus the mean over the baseline's. Episodes are the units of its interval, so that several seeds
in one world do not count as several worlds. What the seeds themselves do is listed beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from helmsight.eval.episode_kinds import EpisodeKind, episode_kind
from helmsight.eval.folder_log import write_atomically
from helmsight.eval.records import EpisodeRecord, read_evaluation
from helmsight.eval.statistics import (
    Interval,
    clustered_mean_interval,
    clustered_paired_difference,
    clustered_proportion,
)


@dataclass(frozen=True)
class VariantResult:
    """A variant in one evaluation, rates in percent.

    level: rates pooled over seeds. seeds: the rates of each seed alone. difference: to the
    baseline, in points, paired by episode; None for the baseline itself. decision_ms: mean time of
    a decision, in milliseconds, as the evaluation's workers had it.
    """

    level: dict[str, Interval]
    seeds: dict[str, list[float]]
    difference: dict[str, Interval] | None
    decision_ms: Interval

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        difference = self.difference
        return {
            "metrics": {name: value._asdict() for name, value in self.level.items()},
            "seeds": self.seeds,
            "difference": difference and {name: v._asdict() for name, v in difference.items()},
            "decision_ms": self.decision_ms._asdict(),
        }


@dataclass(frozen=True)
class SweepSummary:
    """Results by evaluation (such as `cluttered-test`) and variant, the baseline first.

    rates: the outcomes whose shares are compared, the success first.
    """

    baseline: str
    rates: tuple[str, ...]
    results: dict[str, dict[str, VariantResult]]

    def table(self) -> str:
        """A Markdown table: a row a variant and evaluation."""
        heads = ["evaluation", "variant"]
        heads += [head for name in self.rates for head in (f"{name}, %", "over baseline")]
        heads.append("decision, ms")
        lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for evaluation, variants in self.results.items():
            for variant, result in variants.items():
                cells = [evaluation, f"`{variant}`"]
                difference = result.difference
                for name in self.rates:
                    cells.append(_said(result.level[name], "{:.1f}"))
                    cells.append(_said(difference[name], "{:+.1f}") if difference else "baseline")
                cells.append(_said(result.decision_ms, "{:.1f}"))
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def write(self, out: Path) -> None:
        """Write `summary.json`, `table.md` and `figure.svg`."""
        results = {
            evaluation: {variant: result.to_dict() for variant, result in variants.items()}
            for evaluation, variants in self.results.items()
        }
        text = json.dumps({"baseline": self.baseline, "results": results}, indent=2)
        write_atomically(out / "summary.json", text + "\n")
        write_atomically(out / "table.md", self.table() + "\n")
        write_atomically(out / "figure.svg", figure(self))


def summarise(
    folders: Mapping[str, Sequence[Path]], baseline: str, evaluations: Sequence[str]
) -> SweepSummary:
    """Compare variants; `folders` holds, for each, a folder a seed with the evaluations in it.

    Raises ValueError when the jobs did not run the same episodes, or one ended in an error.
    """
    kind = _kind(folders[baseline][0] / evaluations[0])
    results: dict[str, dict[str, VariantResult]] = {}
    for evaluation in evaluations:
        runs = {
            variant: [read_evaluation(folder / evaluation) for folder in seeds]
            for variant, seeds in folders.items()
        }
        _refuse_other_episodes(evaluation, runs)
        reference = runs[baseline]
        results[evaluation] = {
            variant: _result(seeds, None if variant == baseline else reference, kind.rates)
            for variant, seeds in runs.items()
        }
    return SweepSummary(baseline, kind.rates, results)


def _kind(evaluation: Path) -> EpisodeKind:
    identity = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    return episode_kind(identity["env"])


def _result(
    seeds: list[dict[int, EpisodeRecord]],
    baseline: list[dict[int, EpisodeRecord]] | None,
    rates: Sequence[str],
) -> VariantResult:
    level, alone, difference = {}, {}, {}
    for name in rates:
        by_episode = _by_episode(seeds, name)
        level[name] = clustered_proportion(by_episode).scaled(100)
        alone[name] = [100.0 * fmean(run) for run in zip(*by_episode, strict=True)]
        if baseline is not None:
            pairs = clustered_paired_difference(by_episode, _by_episode(baseline, name))
            difference[name] = pairs.scaled(100)
    times = [record.decision_ms for run in seeds for record in run.values()]
    return VariantResult(level, alone, difference or None, clustered_mean_interval(times))


def _by_episode(runs: list[dict[int, EpisodeRecord]], outcome: str) -> list[list[bool]]:
    """For each episode, in which of the runs it ended so."""
    return [[run[episode].outcome == outcome for run in runs] for episode in sorted(runs[0])]


def _refuse_other_episodes(
    evaluation: str, runs: Mapping[str, Sequence[Mapping[int, EpisodeRecord]]]
) -> None:
    expected = next(iter(runs.values()))[0].keys()
    for variant, seeds in runs.items():
        for run in seeds:
            if run.keys() != expected:
                raise ValueError(
                    f"{evaluation}: {variant} ran {len(run)} episodes, others {len(expected)} or "
                    "different ones; only evaluations over the same episodes can be compared"
                )


def _said(interval: Interval, form: str) -> str:
    if interval.value is None:
        return "n/a"
    if interval.low is None or interval.high is None:
        return form.format(interval.value)
    low, high = form.format(interval.low), form.format(interval.high)
    return f"{form.format(interval.value)} [{low}, {high}]"


# ---- Figure: a forest plot of the paired differences ----

_LEFT, _WIDTH, _ROW, _TOP = 330.0, 300.0, 22.0, 46.0


def figure(summary: SweepSummary) -> str:
    """Differences in success to the baseline as SVG: a row a variant, a panel an evaluation."""
    reach = _reach(summary)
    parts, y = [], _TOP
    for evaluation, variants in summary.results.items():
        parts.append(f'<text x="12" y="{y:.0f}" font-weight="600">{escape(evaluation)}</text>')
        y += _ROW
        for variant, result in variants.items():
            if result.difference is not None:
                parts.append(_row(variant, result.difference[summary.rates[0]], reach, y))
                y += _ROW
        y += 0.6 * _ROW
    parts.insert(0, _axis(reach, y))
    width = _LEFT + _WIDTH + 40.0
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {y:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="12" y="20">{summary.rates[0]} over {escape(summary.baseline)}, percent points, '
        f"paired by episode, 95 % intervals</text>{''.join(parts)}</svg>\n"
    )


def _reach(summary: SweepSummary) -> float:
    """Half the range of the axis in points, in steps of 10."""
    limits = [
        abs(limit)
        for variants in summary.results.values()
        for result in variants.values()
        if result.difference is not None
        for limit in result.difference[summary.rates[0]][:3]
        if limit is not None
    ]
    return max(10.0, -(-max(limits, default=0.0) // 10.0) * 10.0)


def _x(points: float, reach: float) -> float:
    return _LEFT + _WIDTH * (points + reach) / (2.0 * reach)


def _axis(reach: float, bottom: float) -> str:
    lines = []
    for points in (-reach, -reach / 2.0, 0.0, reach / 2.0, reach):
        x = _x(points, reach)
        stroke = "#52606d" if points == 0.0 else "#e4e7eb"
        lines.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6:.0f}" y2="{bottom - 8:.0f}" '
            f'stroke="{stroke}"/><text x="{x:.1f}" y="{_TOP - 10:.0f}" text-anchor="middle" '
            f'fill="#52606d">{points:+g}</text>'
        )
    return "".join(lines)


def _row(variant: str, difference: Interval, reach: float, y: float) -> str:
    name = f'<text x="{_LEFT - 14:.0f}" y="{y:.0f}" text-anchor="end">{escape(variant)}</text>'
    if difference.value is None:
        return name
    middle = y - 4.5
    line = ""
    if difference.low is not None and difference.high is not None:
        x1, x2 = _x(difference.low, reach), _x(difference.high, reach)
        line = (
            f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{middle}" y2="{middle}" '
            'stroke="#2f6fed" stroke-width="2"/>'
        )
    x = _x(difference.value, reach)
    return f'{name}{line}<circle cx="{x:.1f}" cy="{middle}" r="4" fill="#2f6fed"/>'
