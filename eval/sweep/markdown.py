"""Intervals and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from helmsight.eval.statistics import Interval


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, f"|{'---|' * len(heads)}")
    return "\n".join(lines)


def said(interval: Interval, form: str) -> str:
    """An interval as text: `62.5 [52.5, 71.5]`."""
    if interval.value is None:
        return "n/a"
    return f"{form.format(interval.value)} {said_limits(interval, form)}".rstrip()


def said_limits(interval: Interval, form: str) -> str:
    """The limits alone: `[52.5, 71.5]`, and nothing where there are none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"[{form.format(interval.low)}, {form.format(interval.high)}]"
