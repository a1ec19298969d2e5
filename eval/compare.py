"""Two evaluations over the same episodes, compared pair by pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from helmsight.eval.episode_kinds import PARKING, EpisodeKind, episode_kind
from helmsight.eval.folder_log import write_atomically
from helmsight.eval.records import EpisodeRecord, listed, read_evaluation
from helmsight.eval.report import fill_template, page_file
from helmsight.eval.statistics import Interval, mcnemar_exact, mean_interval, paired_difference

# Of the environments' options, those that make another world, with what holds where they were not
# written down; what else differs is compared.
_WORLD = {
    **dict.fromkeys(("family", "split", "approach", "simulator", "lot")),
    **dict.fromkeys(("suite", "task", "protocol")),
    "arm_noise": 0.0,
}


@dataclass(frozen=True)
class Comparison:
    """Paired result of A and B. Differences are A minus B, the success rate in percent points.

    `both`, `only_first`, `only_second`, `neither` count episodes by who succeeded in them;
    `discordant` holds the pairs of records in which only one of the two did.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    differences: dict[str, Interval]
    discordant: list[tuple[EpisodeRecord, EpisodeRecord]]
    kind: EpisodeKind = PARKING

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form, as `summary.json` holds it."""
        differences = {name: value._asdict() for name, value in self.differences.items()}
        return {
            "metrics": differences,
            "mcnemar_p": self.p_value,
            "first": self.first,
            "second": self.second,
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "neither": self.neither,
            "discordant": [
                {"episode": a.episode, "first": a.outcome, "second": b.outcome}
                for a, b in self.discordant
            ],
        }

    def table(self) -> str:
        """The comparison as plain text."""
        lines = [
            f"A = {self.first}",
            f"B = {self.second}",
            f"{self.kind.verb} by both {self.both}, only A {self.only_first}, "
            f"only B {self.only_second}, neither {self.neither}",
            f"McNemar exact p = {self.p_value:.4g}",
        ]
        for name, value in self.differences.items():
            if value.value is not None:
                limits = "" if value.low is None else f"  [{value.low:+.2f}, {value.high:+.2f}]"
                lines.append(
                    f"{name} A-B {value.value:+.2f} {_unit(name, self.kind)}{limits}  n={value.n}"
                )
        return "\n".join(lines)


def compare(first: Path, second: Path, out: Path | None = None) -> Comparison:
    """Compare two evaluation folders; writes `summary.json` and `compare.html` into `out`, if any.

    Raises FileNotFoundError for a folder that holds no evaluation, and ValueError when the two did
    not run the same episodes of the same world or hold episodes that ended in an error.
    """
    a, b = read_evaluation(Path(first)), read_evaluation(Path(second))
    kind = episode_kind(_refuse_other_world(Path(first), Path(second)))
    _refuse_other_episodes(a, b)
    comparison = _compare(str(first), str(second), a, b, kind)
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        text = json.dumps(comparison.to_dict(), indent=2, allow_nan=False)
        write_atomically(Path(out) / "summary.json", text + "\n")
        _write_page(Path(out) / "compare.html", comparison, next(iter(a.values())))
    return comparison


def _compare(
    first: str,
    second: str,
    a: dict[int, EpisodeRecord],
    b: dict[int, EpisodeRecord],
    kind: EpisodeKind,
) -> Comparison:
    pairs = [(a[episode], b[episode]) for episode in sorted(a)]
    both = sum(x.success and y.success for x, y in pairs)
    only_first = sum(x.success and not y.success for x, y in pairs)
    only_second = sum(y.success and not x.success for x, y in pairs)
    neither = len(pairs) - both - only_first - only_second
    rate = paired_difference(both, only_first, only_second, neither).scaled(100)
    differences = {kind.success: rate}
    for name, read in kind.paired.items():
        values = [(read(x), read(y)) for x, y in pairs if x.success and y.success]
        differences[name] = mean_interval(
            [float(x) - float(y) for x, y in values if x is not None and y is not None]
        )
    return Comparison(
        first=first,
        second=second,
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        p_value=mcnemar_exact(only_first, only_second),
        differences=differences,
        discordant=[(x, y) for x, y in pairs if x.success != y.success],
        kind=kind,
    )


def _refuse_other_world(first: Path, second: Path) -> str:
    """The environment that both were run in."""
    worlds = []
    for folder in (first, second):
        identity = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        options: Mapping[str, Any] = identity["env_kwargs"]
        named = {key: options.get(key, default) for key, default in _WORLD.items()}
        worlds.append({"env": identity["env"], "seed": identity["seed"], **named})
    lines = [
        f"{key}: {worlds[0][key]!r} in {first}, {worlds[1][key]!r} in {second}"
        for key in worlds[0]
        if worlds[0][key] != worlds[1][key]
    ]
    if lines:
        raise ValueError("only evaluations in the same world can be compared: " + "; ".join(lines))
    return str(worlds[0]["env"])


def _refuse_other_episodes(a: dict[int, EpisodeRecord], b: dict[int, EpisodeRecord]) -> None:
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    if only_a or only_b:
        raise ValueError(
            "only evaluations over the same episodes can be compared: "
            f"episodes only in the first: {listed(only_a)}; only in the second: {listed(only_b)}"
        )


# ---- Page ----


def _write_page(path: Path, comparison: Comparison, sample: EpisodeRecord) -> None:
    total = comparison.both + comparison.only_first + comparison.only_second + comparison.neither
    parts = {
        "style": page_file("report.css"),
        "title": escape(_verdict(comparison)),
        "first": escape(comparison.first),
        "second": escape(comparison.second),
        "lead": escape(f"{total} episodes. {comparison.kind.title(sample)}."),
        "means": escape(" and ".join(comparison.kind.paired)),
        "verb": escape(comparison.kind.verb),
        "headline": _headline(comparison),
        "pairs": _pairs(comparison),
        "metrics": _differences_table(comparison),
        "discordant": _discordant_table(comparison),
    }
    template = page_file("compare.html")
    write_atomically(path, fill_template(template, parts))


def _verdict(comparison: Comparison) -> str:
    rate = comparison.differences[comparison.kind.success]
    low, high = rate.low, rate.high
    if low is not None and low > 0.0:
        return "A succeeds more often than B"
    if high is not None and high < 0.0:
        return "B succeeds more often than A"
    return "No difference shown between A and B"


def _headline(comparison: Comparison) -> str:
    name = comparison.kind.success
    rate = comparison.differences[name]
    return (
        f'<div class="figure">{rate.value:+.1f}<small>points</small></div>'
        f'<p class="said">{name} of A minus B, 95 % interval {_limits(rate, 1)}<br>'
        f"McNemar's exact p = {comparison.p_value:.3g}</p>"
    )


def _pairs(comparison: Comparison) -> str:
    counts = (
        ("TSR", comparison.both, f"{comparison.kind.verb} by both"),
        ("TFR", comparison.only_first, "only by A"),
        ("NTSR", comparison.only_second, "only by B"),
        ("error", comparison.neither, "by neither"),
    )
    bar = "".join(
        f'<span class="o-{hue}" style="flex:{count}"></span>' for hue, count, _ in counts if count
    )
    legend = "".join(
        f'<li><i class="o-{hue}"></i><b>{count}</b> {said}</li>' for hue, count, said in counts
    )
    return f'<div class="stack" aria-hidden="true">{bar}</div><ul class="legend">{legend}</ul>'


def _differences_table(comparison: Comparison) -> str:
    rows = []
    for name, interval in comparison.differences.items():
        value = (
            "n/a"
            if interval.value is None
            else f"{interval.value:+.2f} {_unit(name, comparison.kind)}"
        )
        rows.append(
            f"<tr><td>{name}</td><td>{escape(comparison.kind.definitions[name].title)}</td>"
            f'<td class="number"><b>{value}</b></td>'
            f'<td class="number soft">{_limits(interval, 2)}</td>'
            f'<td class="number soft">{interval.n}</td></tr>'
        )
    return (
        '<table class="metrics"><thead><tr><th>Metric</th><th></th><th class="number">A - B</th>'
        '<th class="number">95 % interval</th><th class="number">n</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _discordant_table(comparison: Comparison) -> str:
    if not comparison.discordant:
        return '<p class="note">None: both succeeded in the same episodes.</p>'
    kind = comparison.kind
    rows = "".join(
        f'<tr><td class="number">{a.episode}</td>'
        f"{_outcome_cell(a, kind)}{_outcome_cell(b, kind)}</tr>"
        for a, b in comparison.discordant
    )
    return (
        '<table class="episodes"><thead><tr><th class="number">Episode</th><th>A</th><th>B</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _outcome_cell(record: EpisodeRecord, kind: EpisodeKind) -> str:
    known = kind.definitions.get(record.outcome)
    said = f"{record.outcome} · {known.title}" if known else record.outcome
    return f'<td class="o-{escape(record.outcome)}"><i></i>{escape(said)}</td>'


def _limits(interval: Interval, digits: int) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}"


def _unit(name: str, kind: EpisodeKind) -> str:
    return "points" if name == kind.success else kind.definitions[name].unit
