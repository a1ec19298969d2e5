"""Which calls made an evaluation's episodes: with what code, on what machine and how.

`sessions.jsonl` gets a line for each call that has episodes to run, before it runs them. A finished
episode is never run again, so the last line that names it is of the call that made it, also where
calls were killed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helmsight.eval.records import drop_torn_line

_FILE = "sessions.jsonl"
# What a session says besides its episodes, each in the form of a summary's provenance.
_UNKNOWN: dict[str, Any] = {
    "time": "",
    "versions": {},
    "git_revision": None,
    "machine": {},
    "timing": {},
    "command": "",
}
_CODE = ("git_revision", "versions")


def begin_session(folder: Path, origin: dict[str, Any], episodes: Sequence[int]) -> None:
    """Write down that a call of this `origin` now runs `episodes`; only behind the folder's lock.

    origin: `time`, `versions`, `git_revision`, `machine`, `timing` and `command`.
    """
    path = folder / _FILE
    drop_torn_line(path)
    line = json.dumps({**origin, "episodes": sorted(episodes)}, separators=(",", ":"))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def adopt_former_session(folder: Path, finished: Sequence[int]) -> None:
    """Where episodes finished before sessions were written down, take what the summary says."""
    if (folder / _FILE).exists() or not finished:
        return
    summary = folder / "summary.json"
    said = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}
    known = said.get("provenance", {})
    origin = {key: known.get(key, unknown) for key, unknown in _UNKNOWN.items()}
    begin_session(folder, origin, finished)


def sessions_of(folder: Path, episodes: Sequence[int]) -> list[dict[str, Any]]:
    """The distinct sessions that made some of `episodes`, the latest last.

    `episodes` of each is how many it made; calls that differ in nothing but their time are one.
    """
    path = folder / _FILE
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    lines = [json.loads(line) for line in whole]
    made_by = {episode: number for number, line in enumerate(lines) for episode in line["episodes"]}
    makers = [made_by[episode] for episode in episodes if episode in made_by]
    distinct: dict[str, dict[str, Any]] = {}
    for number in sorted(set(makers)):
        session = {**lines[number], "episodes": makers.count(number)}
        same = json.dumps([session[key] for key in _UNKNOWN if key != "time"])
        before = distinct.pop(same, {"episodes": 0})
        distinct[same] = {**session, "episodes": session["episodes"] + before["episodes"]}
    return list(distinct.values())


def different_code(sessions: Sequence[dict[str, Any]]) -> str | None:
    """A sentence that names the revisions where the sessions' code or packages differ."""
    if all(session[key] == sessions[0][key] for session in sessions for key in _CODE):
        return None
    parts = ", ".join(
        f"{str(session['git_revision'] or 'unknown')[:12]} ({session['episodes']} episodes)"
        for session in sessions
    )
    changed = sorted(
        name
        for name in {name for session in sessions for name in session["versions"]}
        if len({session["versions"].get(name) for session in sessions}) > 1
    )
    packages = f"; versions differ of {', '.join(changed)}" if changed else ""
    return f"The episodes were made by different code: revisions {parts}{packages}."
