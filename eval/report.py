"""`report.html`: one self-contained file with the figures, every path and the films.

The page is complete as written here; its script only filters, sorts and enlarges.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from helmsight.envs.parking.scenario import Scenario, make_scenario
from helmsight.eval import plan_view
from helmsight.eval.calls import different_code
from helmsight.eval.episode_kinds import PARKING, EpisodeKind
from helmsight.eval.folder_log import write_atomically
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.report_tables import (
    episode_table,
    limits,
    metrics_table,
    quantile,
    tasks_table,
)
from helmsight.eval.statistics import Interval
from helmsight.eval.video import PLAYBACK_SPEED, Film


@dataclass(frozen=True)
class ReportContent:
    """What a report is made from; `films` are shown in the order given."""

    metrics: Mapping[str, Interval]
    provenance: Mapping[str, Any]
    records: Sequence[EpisodeRecord]
    films: Sequence[Film] = ()
    films_note: str = ""
    kind: EpisodeKind = PARKING
    scenarios: dict[int, Scenario] = field(init=False)

    def __post_init__(self) -> None:
        scenarios = _scenarios(self.records) if self.kind is PARKING else {}
        object.__setattr__(self, "scenarios", scenarios)

    @property
    def finished(self) -> list[EpisodeRecord]:
        return [record for record in self.records if record.error is None]

    @property
    def counts(self) -> dict[str, int]:
        """Episodes of each outcome that came about, errors last."""
        counted = Counter(self.kind.outcome(record) for record in self.records)
        return {name: counted[name] for name in (*self.kind.outcomes, "error") if counted[name]}

    @property
    def tasks(self) -> dict[str, Interval]:
        """Success rates of tasks, where there are several."""
        return self.kind.tasks(self.records)


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report as one HTML file that asks the network for nothing."""
    template = page_file("report.html")
    parts = _parts(content)
    parts["style"] = page_file("report.css")
    parts["script"] = page_file("report.js")
    write_atomically(path, fill_template(template, parts))


def page_file(name: str) -> str:
    """A template, style sheet or script that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def fill_template(template: str, parts: Mapping[str, str]) -> str:
    """Replace each `{{name}}` once; a name without a part is a KeyError."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], template)


def _parts(content: ReportContent) -> dict[str, str]:
    placements, outside = plan_view.final_placements(content.finished, content.scenarios)
    bar, legend = _outcome_bar(content)
    return {
        "title": escape(_title(content)),
        "lead": _lead(content),
        "warnings": _warnings(content),
        "shapes": plan_view.shared_shapes(),
        "headline": _headline(content),
        "outcome_bar": bar,
        "outcome_legend": legend,
        "metrics_note": _metrics_note(content),
        "metrics_table": metrics_table(content.metrics, content.kind),
        "tasks_hidden": "" if content.tasks else "hidden",
        "tasks_table": tasks_table(content.tasks),
        "plans_hidden": "" if content.scenarios else "hidden",
        "all_paths": plan_view.all_paths(content.finished, content.scenarios),
        "placements": placements,
        "outside": f"{outside} lie outside the chart." if outside else "",
        "chips": _chips(content),
        "gallery": _gallery(content),
        "films_hidden": "" if content.films else "hidden",
        "films_note": escape(content.films_note),
        "films": "\n".join(_film(film, content) for film in content.films),
        "episode_table": episode_table(content.records, content.kind),
        "command": escape(str(content.provenance.get("command", ""))),
        "provenance": provenance_list(content.provenance),
    }


# ---- Header ----


def _title(content: ReportContent) -> str:
    record = next(iter(content.finished), None)
    if record is None or not record.family:
        return "Evaluation"
    return content.kind.title(record)


def policy_said(origin: Mapping[str, Any]) -> list[str]:
    """Which policy it was, from its provenance, as pieces of HTML."""
    said = [f"Policy <b>{escape(str(origin.get('policy')))}</b>"]
    if origin.get("checkpoint"):
        said.append(f"from <b>{escape(str(origin['checkpoint']))}</b>")
    if origin.get("sha256"):
        said.append(f"(SHA-256 {escape(str(origin['sha256'])[:12])})")
    return said


def _lead(content: ReportContent) -> str:
    origin = content.provenance
    said = policy_said(origin)
    facts = [f"{len(content.records)} episodes"]
    record = next(iter(content.finished), None)
    if record is not None and record.approach:
        facts.append(content.kind.approach(record))
    options = origin.get("env_kwargs", {})
    if options.get("render"):
        facts.append(f"{options['render']} pictures")
    if options.get("blank_cameras"):
        facts.append("all of them black")
    if origin.get("simulator"):
        facts.append(f"simulator {origin['simulator']}")
    if origin.get("target_source"):
        facts.append(f"target pose {origin['target_source']}")
    if isinstance(origin.get("motion"), dict):
        facts.append(f"motion model {str(origin['motion'].get('sha256'))[:12]}")
    facts.append(str(origin.get("time", ""))[:10])
    return f"{' '.join(said)}. {escape(', '.join(fact for fact in facts if fact))}."


def _warnings(content: ReportContent) -> str:
    lines = []
    errors = len(content.records) - len(content.finished)
    if errors:
        lines.append(
            f"{errors} of {len(content.records)} episodes ended in an error and count in no metric."
        )
    if content.provenance.get("target_source") == "oracle":
        lines.append("The target pose came from simulator truth; this is no reportable result.")
    code = different_code(content.provenance.get("calls", []))
    if code is not None:
        lines.append(code)
    differing = [str(film.episode) for film in content.films if not film.agrees]
    if differing:
        lines.append(
            "Driven again for their films, these episodes did not end as recorded: "
            f"{', '.join(differing)}. The environment or the policy is not deterministic."
        )
    return "".join(f'<p class="warning">{escape(line)}</p>' for line in lines)


def _headline(content: ReportContent) -> str:
    name = content.kind.success
    rate = content.metrics[name]
    if rate.value is None:
        return '<div><div class="figure">n/a</div><p class="said">no finished episode</p></div>'
    successes = round(rate.value * rate.n / 100.0)
    return (
        f'<div><div class="figure">{rate.value:.1f}<small>%</small></div>'
        f'<p class="said">{escape(content.kind.definitions[name].title)}, '
        f"{successes} of {rate.n}<br>"
        f"95 % interval {limits(rate, 1)} %</p></div>"
    )


def _outcome_bar(content: ReportContent) -> tuple[str, str]:
    counts = content.counts
    bar = "".join(
        f'<span class="o-{name}" style="flex:{count}" title="{name}: {count}"></span>'
        for name, count in counts.items()
    )
    legend = "".join(
        f'<li><i class="o-{name}"></i><b>{count}</b> {escape(content.kind.meaning(name))}</li>'
        for name, count in counts.items()
    )
    said = ", ".join(f"{count} {content.kind.meaning(name)}" for name, count in counts.items())
    return (
        f'<div class="stack" role="img" aria-label="{escape(said)}">{bar}</div>',
        f'<ul class="legend">{legend}</ul>',
    )


# ---- Metrics ----


def _metrics_note(content: ReportContent) -> str:
    timing = content.provenance.get("timing", {})
    workers, threads = timing.get("workers", 1), timing.get("torch_threads", 1)
    means = [
        name
        for name, definition in content.kind.definitions.items()
        if definition.definition.endswith("successes")
    ]
    return (
        f"Rates over {len(content.finished)} episodes; {' and '.join(means)} over the successes "
        "alone. "
        f"AIT was measured on device {escape(str(timing.get('device', 'cpu')))} with {threads} "
        f"torch thread{'s' * (threads != 1)} in {workers} process{'es' * (workers != 1)} at once."
    )


# ---- Episodes ----


def _chips(content: ReportContent) -> str:
    return "".join(
        f'<button type="button" class="chip o-{name}" aria-pressed="true" data-filter="{name}">'
        f"<i></i>{name} {count}</button>"
        for name, count in content.counts.items()
    )


def _gallery(content: ReportContent) -> str:
    return "\n".join(
        _tile(record, rank, content)
        for rank, record in enumerate(content.kind.worst_first(content.records))
    )


def _tile(record: EpisodeRecord, rank: int, content: ReportContent) -> str:
    outcome = content.kind.outcome(record)
    scenario = content.scenarios.get(record.episode)
    plan = plan_view.episode_plan(record, scenario) if scenario is not None else ""
    facts = escape(json.dumps(_facts(record, content.kind)), quote=True)
    title = escape(f"Episode {record.episode}: {content.kind.meaning(outcome)}", quote=True)
    return (
        f'<button type="button" class="tile o-{outcome}" data-episode="{record.episode}" '
        f'data-outcome="{outcome}" data-worst="{rank}" data-title="{title}" data-facts="{facts}">'
        f"{plan}<span><b>{record.episode}</b><em>{outcome}</em></span></button>"
    )


def _facts(record: EpisodeRecord, kind: EpisodeKind) -> dict[str, str]:
    """What is said about one episode beside its plan."""
    if record.error is not None:
        return {"error": record.error}
    facts = {"outcome": record.outcome, "time": f"{record.steps / kind.rate_hz:.1f} s"}
    if kind is not PARKING:
        facts["instruction"] = record.task
    for key, value in record.metrics.items():
        counts = key != "steps" and (record.success or key != "parking_time")
        if value is not None and counts:
            said = f"{value:.2f}" if isinstance(value, float) else str(value)
            facts[key.replace("_", " ")] = said + kind.units.get(key, "")
    if len(record.initial_state) == 3:
        x, y, yaw = record.initial_state
        facts["start"] = f"{x:.2f} m, {y:.2f} m, {math.degrees(yaw):.0f}°"
    decisions = sorted(record.decision_ms)
    if decisions:
        facts["decisions"] = str(len(decisions))
        facts["median decision"] = f"{quantile(decisions, 0.5):.1f} ms"
        facts["95th percentile"] = f"{quantile(decisions, 0.95):.1f} ms"
    facts["seed"] = str(record.seed)
    return facts


def _film(film: Film, content: ReportContent) -> str:
    record = next(record for record in content.records if record.episode == film.episode)
    outcome = content.kind.outcome(record)
    said = "" if film.agrees else f" Driven again it ended as {film.outcome}."
    mp4, poster = (base64.b64encode(data).decode() for data in (film.mp4, film.poster))
    return (
        f'<figure class="film o-{outcome}" data-episode="{film.episode}" data-outcome="{outcome}">'
        f'<video controls muted playsinline preload="none" poster="data:image/jpeg;base64,{poster}"'
        f' src="data:video/mp4;base64,{mp4}"></video>'
        f"<figcaption><span><i></i><b>Episode {film.episode}</b> "
        f"{escape(content.kind.meaning(outcome))}.{escape(said)}</span>"
        f"<span>{record.steps / content.kind.rate_hz:.1f} s at {PLAYBACK_SPEED}&times; speed</span>"
        "</figcaption></figure>"
    )


# ---- Provenance and small parts ----


def provenance_list(origin: Mapping[str, Any]) -> str:
    """Where a result comes from, as a description list; the command is shown apart, and
    calls only where there are several."""

    def rows(prefix: str, value: Any) -> list[tuple[str, str]]:
        if isinstance(value, Mapping) and len(prefix.split(" · ")) < 2:
            return [
                row
                for key, entry in value.items()
                for row in rows(f"{prefix} · {key}" if prefix else key, entry)
            ]
        said = json.dumps(value) if isinstance(value, Mapping | list) else str(value)
        return [(prefix.replace("_", " "), said)]

    hidden = {"command"} if len(origin.get("calls", [])) > 1 else {"command", "calls"}
    shown = {key: value for key, value in origin.items() if key not in hidden}
    return (
        '<dl class="provenance">'
        + "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows("", shown)
        )
        + "</dl>"
    )


def _scenarios(records: Sequence[EpisodeRecord]) -> dict[int, Scenario]:
    """Scenarios of the parking episodes among `records`, by episode; made anew, not stored."""
    return {
        record.episode: make_scenario(record.family, record.split, record.episode, record.approach)
        for record in records
        if record.family and record.path
    }
