"""A forest plot of a sweep: the paired differences in success to the baseline, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from helmsight.eval.statistics import Interval
from helmsight.eval.sweep.outcomes import SweepOutcomes, VariantOutcomes

_WIDTH, _ROW, _TOP = 300.0, 22.0, 62.0
_CHARACTER = 7.3  # pixels of one on average, at 13 pixels
_BLUE, _GREY, _INK = "#2f6fed", "#52606d", "#1f2933"


def figure(outcomes: SweepOutcomes) -> str:
    """A panel an evaluation, a row a variant, with both intervals of each difference."""
    success = outcomes.rates[0]
    plot = _Plot(outcomes)
    parts, y = [], _TOP
    for evaluation, variants in outcomes.results.items():
        parts.append(f'<text x="12" y="{y:.0f}" font-weight="600">{escape(evaluation)}</text>')
        y += _ROW
        for variant, result in variants.items():
            if result.difference is not None and result.difference_of_seeds is not None:
                parts.append(plot.name(variant, y))
                parts.append(plot.line(result.difference_of_seeds[success], y, width=1.2))
                parts.append(plot.line(result.difference[success], y, width=4.0))
                parts.append(plot.point(result.difference[success], y))
                y += _ROW
        y += 0.6 * _ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plot.width:.0f} {y:.0f}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="12" y="20">{success} over {escape(outcomes.baseline)}, percent points; '
        "95 % intervals</text>"
        f'<text x="12" y="37" fill="{_GREY}">thick: other episodes (paired), thin: other seeds'
        f"</text>{plot.axis(y)}{''.join(parts)}</svg>\n"
    )


def _differences(result: VariantOutcomes, rate: str) -> Iterator[Interval]:
    for differences in (result.difference, result.difference_of_seeds):
        if differences is not None:
            yield differences[rate]


class _Plot:
    """The scale of the points, and what is drawn to it.

    reach: half the range of the axis in points, in steps of 10. left: where it begins, beside the
    longest name.
    """

    def __init__(self, outcomes: SweepOutcomes) -> None:
        results = [
            (variant, result)
            for variants in outcomes.results.values()
            for variant, result in variants.items()
        ]
        limits = [
            abs(limit)
            for _, result in results
            for difference in _differences(result, outcomes.rates[0])
            for limit in difference[:3]
            if limit is not None
        ]
        self.reach = max(10.0, -(-max(limits, default=0.0) // 10.0) * 10.0)
        self.left = 30.0 + _CHARACTER * max(len(variant) for variant, _ in results)
        self.width = self.left + _WIDTH + 40.0

    def _x(self, points: float) -> float:
        return self.left + _WIDTH * (points + self.reach) / (2.0 * self.reach)

    def axis(self, bottom: float) -> str:
        lines = []
        for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
            x = self._x(share * self.reach)
            stroke = _GREY if share == 0.0 else "#e4e7eb"
            lines.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6:.0f}" y2="{bottom - 8:.0f}" '
                f'stroke="{stroke}"/><text x="{x:.1f}" y="{_TOP - 10:.0f}" text-anchor="middle" '
                f'fill="{_GREY}">{share * self.reach:+g}</text>'
            )
        return "".join(lines)

    def name(self, variant: str, y: float) -> str:
        return (
            f'<text x="{self.left - 14:.0f}" y="{y:.0f}" text-anchor="end">{escape(variant)}</text>'
        )

    def line(self, difference: Interval, y: float, width: float) -> str:
        if difference.low is None or difference.high is None:
            return ""
        x1, x2 = self._x(difference.low), self._x(difference.high)
        middle = y - 4.5
        return (
            f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{middle}" y2="{middle}" stroke="{_BLUE}" '
            f'stroke-width="{width}"/>'
        )

    def point(self, difference: Interval, y: float) -> str:
        if difference.value is None:
            return ""
        return (
            f'<circle cx="{self._x(difference.value):.1f}" cy="{y - 4.5}" r="4.5" fill="#ffffff" '
            f'stroke="{_BLUE}" stroke-width="2"/>'
        )
