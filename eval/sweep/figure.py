"""A forest plot of a sweep: the paired differences in success to the baseline, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from helmsight.eval.statistics import Interval
from helmsight.eval.sweep.outcomes import SweepOutcomes, VariantOutcomes

_LEFT, _WIDTH, _ROW, _TOP = 330.0, 300.0, 22.0, 62.0
_BLUE, _GREY, _INK = "#2f6fed", "#52606d", "#1f2933"


def figure(outcomes: SweepOutcomes) -> str:
    """A panel an evaluation, a row a variant, with both intervals of each difference."""
    reach = _reach(outcomes)
    success = outcomes.rates[0]
    parts, y = [], _TOP
    for evaluation, variants in outcomes.results.items():
        parts.append(f'<text x="12" y="{y:.0f}" font-weight="600">{escape(evaluation)}</text>')
        y += _ROW
        for variant, result in variants.items():
            if result.difference is not None and result.difference_of_seeds is not None:
                row = _Row(reach, y)
                parts.append(row.name(variant))
                parts.append(row.line(result.difference_of_seeds[success], width=1.2))
                parts.append(row.line(result.difference[success], width=4.0))
                parts.append(row.point(result.difference[success]))
                y += _ROW
        y += 0.6 * _ROW
    parts.insert(0, _axis(reach, y))
    width = _LEFT + _WIDTH + 40.0
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {y:.0f}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="12" y="20">{success} over {escape(outcomes.baseline)}, percent points; '
        "95 % intervals</text>"
        f'<text x="12" y="37" fill="{_GREY}">thick: other episodes (paired), thin: other seeds'
        f"</text>{''.join(parts)}</svg>\n"
    )


def _differences(result: VariantOutcomes, rate: str) -> Iterator[Interval]:
    for differences in (result.difference, result.difference_of_seeds):
        if differences is not None:
            yield differences[rate]


def _reach(outcomes: SweepOutcomes) -> float:
    """Half the range of the axis in points, in steps of 10."""
    limits = [
        abs(limit)
        for variants in outcomes.results.values()
        for result in variants.values()
        for difference in _differences(result, outcomes.rates[0])
        for limit in difference[:3]
        if limit is not None
    ]
    return max(10.0, -(-max(limits, default=0.0) // 10.0) * 10.0)


def _x(points: float, reach: float) -> float:
    return _LEFT + _WIDTH * (points + reach) / (2.0 * reach)


def _axis(reach: float, bottom: float) -> str:
    lines = []
    for points in (-reach, -reach / 2.0, 0.0, reach / 2.0, reach):
        x = _x(points, reach)
        stroke = _GREY if points == 0.0 else "#e4e7eb"
        lines.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6:.0f}" y2="{bottom - 8:.0f}" '
            f'stroke="{stroke}"/><text x="{x:.1f}" y="{_TOP - 10:.0f}" text-anchor="middle" '
            f'fill="{_GREY}">{points:+g}</text>'
        )
    return "".join(lines)


class _Row:
    """One variant's line of the plot, at height y."""

    def __init__(self, reach: float, y: float) -> None:
        self.reach, self.y, self.middle = reach, y, y - 4.5

    def name(self, variant: str) -> str:
        return (
            f'<text x="{_LEFT - 14:.0f}" y="{self.y:.0f}" text-anchor="end">'
            f"{escape(variant)}</text>"
        )

    def line(self, difference: Interval, width: float) -> str:
        if difference.low is None or difference.high is None:
            return ""
        x1, x2 = _x(difference.low, self.reach), _x(difference.high, self.reach)
        return (
            f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{self.middle}" y2="{self.middle}" '
            f'stroke="{_BLUE}" stroke-width="{width}"/>'
        )

    def point(self, difference: Interval) -> str:
        if difference.value is None:
            return ""
        x = _x(difference.value, self.reach)
        return (
            f'<circle cx="{x:.1f}" cy="{self.middle}" r="4.5" fill="#ffffff" stroke="{_BLUE}" '
            'stroke-width="2"/>'
        )
