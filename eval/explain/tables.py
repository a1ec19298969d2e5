"""The measures on the page: a table for each group, and the deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from helmsight.eval.explain.maps import MAPS, TITLES
from helmsight.eval.explain.measures import DECISION
from helmsight.eval.explain.summary import MEASURES, MeasureSummary
from helmsight.eval.statistics import Interval

LEADS = {
    "Faithfulness": "Does what the map calls important move the actions when it is taken away? "
    "Actions are normalised: a distance of 1 is half of every entry's range.",
    "Use": "What the trained attention is there for. A faithful map of an attention that is hardly "
    "used says what drives the policy, and does not drive it.",
    "Stability": "How far the map moves from one control period to the next, beside what the "
    "robot's own motion explains.",
    "Focus": "How narrow the map is and what it lies on. A uniform map's mass is about what "
    "“random” shows.",
    "Shift": "The same states in a look that training never shows.",
}
HUES = {
    "attention": "#00806a",
    "target": "#2cc3a2",
    "gradient": "#d55e00",
    "integrated_gradients": "#5546b4",
    "masking": "#22262b",
    "cross_attention": "#3f9bd6",
    "self_attention": "#b565ac",
    "random": "#8b95a1",
}
WIDTH, HEIGHT = 400.0, 240.0


def measure_sections(summary: MeasureSummary) -> str:
    """One section a group of measures that has any."""
    sections = []
    for group, lead in LEADS.items():
        measures = [name for name in summary.means if MEASURES[name].group == group]
        if not measures:
            continue
        curves = _curves(summary) if group == "Faithfulness" else ""
        sections.append(
            f'<section><h2>{group}</h2><p class="note">{escape(lead)}</p>{curves}'
            f"{_table(summary, measures)}</section>"
        )
    return "\n".join(sections)


def _table(summary: MeasureSummary, measures: Sequence[str]) -> str:
    names = [
        name
        for name in (*MAPS, DECISION)
        if any(name in summary.means[measure] for measure in measures)
    ]
    heads = "".join(f'<th class="number">{_head(measure)}</th>' for measure in measures)
    rows = "".join(_row(summary, measures, name) for name in names)
    difference = (
        f'<p class="note">Δ: {escape(TITLES[summary.subject])} minus this map, in pairs.</p>'
        if any(name in summary.differences for name in measures)
        else ""
    )
    notes = "".join(
        f"<dt>{escape(MEASURES[name].title)}</dt><dd>{escape(MEASURES[name].definition)}</dd>"
        for name in measures
    )
    return (
        f'<div class="scroll"><table class="measures"><thead><tr><th>Map</th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div>{difference}<dl class="glossary">{notes}</dl>'
    )


def _head(measure: str) -> str:
    entry = MEASURES[measure]
    unit = f" ({entry.unit})" if entry.unit else ""
    wish = f", {entry.better} is better" if entry.better else ""
    return escape(f"{entry.title}{unit}{wish}")


def _row(summary: MeasureSummary, measures: Sequence[str], name: str) -> str:
    cells = []
    for measure in measures:
        difference = summary.differences.get(measure, {}).get(name)
        value = summary.means[measure].get(name)
        cells.append(_cell(value, difference))
    kind = ' class="subject"' if name == summary.subject else ""
    return f"<tr{kind}><td>{escape(TITLES.get(name, name))}</td>{''.join(cells)}</tr>"


def _cell(value: Interval | None, difference: Interval | None) -> str:
    if value is None or value.value is None:
        return '<td class="number"></td>'
    said = f"{value.value:.3f}" + _limits(value) + f'<span class="soft">n = {value.n:,}</span>'
    if difference is not None and difference.value is not None:
        said += f'<span class="soft">Δ {difference.value:+.3f}{_range(difference)}</span>'
    return f'<td class="number">{said}</td>'


def _limits(value: Interval) -> str:
    if value.low is None or value.high is None:
        return ""
    return f'<span class="soft">{value.low:.3f} to {value.high:.3f}</span>'


def _range(value: Interval) -> str:
    if value.low is None or value.high is None:
        return ""
    return f" ({value.low:+.3f} to {value.high:+.3f})"


def _curves(summary: MeasureSummary) -> str:
    if not summary.curves:
        return ""
    top = max(max(map(max, curves)) for curves in summary.curves.values()) or 1.0
    charts = "".join(
        f"<figure>{_chart(summary, kind, top)}<figcaption>{caption}</figcaption></figure>"
        for kind, caption in (
            (
                0,
                "Deletion: movement of the actions by the share of tokens taken away, most "
                "important first. The higher, the more faithful.",
            ),
            (
                1,
                "Insertion: distance from the decision by the share of tokens put in, most "
                "important first. The lower, the more faithful.",
            ),
        )
    )
    legend = "".join(
        f'<li><i style="background:{HUES[name]}"></i>{escape(TITLES[name])}</li>'
        for name in summary.curves
    )
    return f'<div class="curves">{charts}</div><ul class="legend hues">{legend}</ul>'


def _chart(summary: MeasureSummary, kind: int, top: float) -> str:
    lines = []
    for name, curves in summary.curves.items():
        heights = curves[kind]
        last = len(heights) - 1
        points = " ".join(
            f"{index / last * WIDTH:.1f},{HEIGHT * (1.0 - height / top):.1f}"
            for index, height in enumerate(heights)
        )
        dash = ' stroke-dasharray="5 4"' if name in ("masking", "random") else ""
        lines.append(
            f'<path d="M{points.replace(" ", "L")}" stroke="{HUES[name]}"{dash}>'
            f"<title>{escape(TITLES[name])}</title></path>"
        )
    ticks = "".join(
        f'<text x="{share * WIDTH}" y="{HEIGHT + 16}" text-anchor="{anchor}">{share:.0%}</text>'
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img">'
        f'<path class="axis" d="M0 0V{HEIGHT}H{WIDTH}"/>{ticks}'
        f'<text x="4" y="10">{top:.2f}</text>{"".join(lines)}</svg>'
    )
