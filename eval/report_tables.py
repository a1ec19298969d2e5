"""The tables of a report, as HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from helmsight.eval.episode_kinds import EpisodeKind
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.statistics import Interval


def metrics_table(metrics: Mapping[str, Interval], kind: EpisodeKind) -> str:
    """Every metric with its interval and definition."""
    rows = []
    for name, interval in metrics.items():
        definition = kind.definitions[name]
        is_rate = name in kind.outcomes
        digits = 1 if is_rate or definition.unit == "ms" else 2
        value = "n/a" if interval.value is None else f"{interval.value:.{digits}f}"
        unit = "" if interval.value is None else f" {definition.unit}".replace(" °", "°")
        hue = f"o-{name}" if is_rate else ""
        rows.append(
            f'<tr class="{hue}{" group" if name == kind.outcomes[-1] else ""}"><td>{name}</td>'
            f"<td>{escape(definition.title)}</td>"
            f'<td class="number"><b>{value}</b>{unit}</td>'
            f'<td class="number soft">{limits(interval, digits)}</td>'
            f"<td>{_whisker(interval) if is_rate else ''}</td>"
            f'<td class="number soft">{interval.n:,}</td>'
            f'<td class="definition soft">{escape(definition.definition)}</td></tr>'
        )
    return (
        '<table class="metrics"><thead><tr><th>Metric</th><th></th><th class="number">Value</th>'
        '<th class="number">95 % interval</th><th>0 to 100 %</th><th class="number">n</th>'
        f'<th class="definition">Definition</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _whisker(interval: Interval) -> str:
    """A rate's interval on the scale from 0 to 100 %."""
    if interval.value is None or interval.low is None or interval.high is None:
        return ""
    low, value, high = (round(1.9 * x, 1) for x in (interval.low, interval.value, interval.high))
    ticks = "".join(f"M{x} 6V12" for x in (0, 95, 190))
    return (
        '<svg class="whisker" viewBox="0 0 190 18" aria-hidden="true">'
        f'<path class="scale" d="M0 9H190{ticks}"/><path class="range" d="M{low} 9H{high}"/>'
        f'<circle cx="{value}" cy="9" r="4"/></svg>'
    )


def tasks_table(tasks: Mapping[str, Interval]) -> str:
    """The success rate of each task."""
    rows = "".join(
        f'<tr class="o-SR"><td>{escape(name)}</td>'
        f'<td class="number"><b>{rate.value:.1f}</b> %</td>'
        f'<td class="number soft">{limits(rate, 1)}</td><td>{_whisker(rate)}</td>'
        f'<td class="number soft">{rate.n:,}</td></tr>'
        for name, rate in tasks.items()
    )
    return (
        '<table class="metrics"><thead><tr><th>Task</th><th class="number">Success</th>'
        '<th class="number">95 % interval</th><th>0 to 100 %</th><th class="number">n</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def episode_table(records: Sequence[EpisodeRecord], kind: EpisodeKind) -> str:
    """Every episode with its figures, to sort by any of them."""
    columns = [("Episode", True), ("Outcome", False)]
    columns += [(column.heading, column.digits is not None) for column in kind.columns]
    columns += [("AIT (ms)", True), ("p95 (ms)", True)]
    head = "".join(
        f'<th class="{"number" if is_number else ""}" scope="col">'
        f'<button type="button">{escape(name)}</button></th>'
        for name, is_number in columns
    )
    rows = "\n".join(_episode_row(record, kind) for record in records)
    return (
        f'<table class="episodes"><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>'
    )


def _episode_row(record: EpisodeRecord, kind: EpisodeKind) -> str:
    outcome = kind.outcome(record)
    decisions = sorted(record.decision_ms)
    mean = math.fsum(decisions) / len(decisions) if decisions else None
    cells = []
    for column in kind.columns:
        value = column.read(record) if record.error is None else None
        if column.digits is None:
            cells.append(f"<td>{escape(str(value or ''))}</td>")
        else:
            cells.append(_number_cell(value, column.digits))
    cells.append(_number_cell(mean, 2))
    cells.append(_number_cell(quantile(decisions, 0.95) if decisions else None, 2))
    return (
        f'<tr data-episode="{record.episode}" data-outcome="{outcome}">'
        f'<td class="number">{record.episode}</td>'
        f'<td class="o-{outcome}" data-value="{outcome}"><i></i>{outcome}</td>{"".join(cells)}</tr>'
    )


def _number_cell(value: float | None, digits: int) -> str:
    if value is None:
        return '<td class="number" data-value=""></td>'
    return f'<td class="number" data-value="{value}">{value:.{digits}f}</td>'


def limits(interval: Interval, digits: int) -> str:
    """An interval's limits in words, nothing where there are none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def quantile(ordered: Sequence[float], probability: float) -> float:
    """Nearest-rank quantile of ascending values."""
    return ordered[max(0, math.ceil(probability * len(ordered)) - 1)]
