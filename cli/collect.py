"""`helmsight collect`: record demonstrations."""

from __future__ import annotations

from pathlib import Path

from helmsight.cli.configuration import configuration


def run(words: list[str]) -> int:
    """Collect; returns the exit code."""
    values = configuration("collect", words)
    if values is None:
        return 0
    from helmsight.training.collection.collect import collect
    from helmsight.training.collection.settings import CollectionSettings

    for key in ("host", "port", "lot"):
        values.pop(key)  # they stand in simulator_options
    values["out"] = Path(values["out"])
    values["policy"] = Path(values["policy"]) if values["policy"] else None
    summary = collect(CollectionSettings(**values))
    failures = sum(summary.failures.values())
    print(
        f"{summary.episodes} episodes, {summary.frames} frames in {values['out']} "
        f"({failures} failed attempts left out, {summary.episodes_per_hour:.0f} episodes/h)"
    )
    return 130 if summary.interrupted else 0
