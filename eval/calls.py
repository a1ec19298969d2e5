"""Which calls made an evaluation's episodes: with what code, on what machine and how.

`calls.jsonl` gets a line for each call that has episodes to run, before it runs them. A finished
episode is never run again, so the last line that names it is of the call that made it, also where
calls were killed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helmsight.eval.folder_log import append_line, drop_torn_line, whole_lines

_FILE = "calls.jsonl"
# What a call says besides its episodes, each in the form of a summary's provenance.
_UNKNOWN: dict[str, Any] = {
    "time": "",
    "versions": {},
    "git_revision": None,
    "machine": {},
    "timing": {},
    "command": "",
}
_CODE = ("git_revision", "versions")


def begin_call(folder: Path, origin: dict[str, Any], episodes: Sequence[int]) -> None:
    """Write down that a call of this `origin` now runs `episodes`; only behind the folder's lock.

    origin: `time`, `versions`, `git_revision`, `machine`, `timing` and `command`.
    """
    path = folder / _FILE
    drop_torn_line(path)
    line = json.dumps({**origin, "episodes": sorted(episodes)}, separators=(",", ":"))
    append_line(path, line)


def adopt_former_call(folder: Path, finished: Sequence[int]) -> None:
    """Where episodes finished before calls were written down, take what the summary says."""
    if (folder / _FILE).exists() or not finished:
        return
    summary = folder / "summary.json"
    said = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}
    known = said.get("provenance", {})
    origin = {key: known.get(key, unknown) for key, unknown in _UNKNOWN.items()}
    begin_call(folder, origin, finished)


def calls_of(folder: Path, episodes: Sequence[int]) -> list[dict[str, Any]]:
    """The distinct calls that made some of `episodes`, the latest last.

    `episodes` of each is how many it made; calls that differ in nothing but their time are one.
    """
    path = folder / _FILE
    lines = [json.loads(line) for line in whole_lines(path)] if path.exists() else []
    made_by = {episode: number for number, line in enumerate(lines) for episode in line["episodes"]}
    makers = [made_by[episode] for episode in episodes if episode in made_by]
    distinct: dict[str, dict[str, Any]] = {}
    for number in sorted(set(makers)):
        call = {**lines[number], "episodes": makers.count(number)}
        same = json.dumps([call[key] for key in _UNKNOWN if key != "time"])
        before = distinct.pop(same, {"episodes": 0})
        distinct[same] = {**call, "episodes": call["episodes"] + before["episodes"]}
    return list(distinct.values())


def different_code(calls: Sequence[dict[str, Any]]) -> str | None:
    """A sentence that names the revisions where the calls' code or packages differ."""
    if all(call[key] == calls[0][key] for call in calls for key in _CODE):
        return None
    parts = ", ".join(
        f"{str(call['git_revision'] or 'unknown')[:12]} ({call['episodes']} episodes)"
        for call in calls
    )
    changed = sorted(
        name
        for name in {name for call in calls for name in call["versions"]}
        if len({call["versions"].get(name) for call in calls}) > 1
    )
    packages = f"; versions differ of {', '.join(changed)}" if changed else ""
    return f"The episodes were made by different code: revisions {parts}{packages}."
