"""`helmsight collect`: record demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration
from helmsight.cli.output_folder import DATA_SET, output_folder

if TYPE_CHECKING:
    from helmsight.training.collection.settings import CollectionSettings


def run(words: list[str]) -> int:
    """Collect; returns the exit code."""
    values = configuration("collect", words)
    if values is None:
        return 0
    from helmsight.training.collection.collect import collect

    values["out"] = output_folder(values["out"], DATA_SET)
    summary = collect(_SETTINGS[values.pop("collection")](values))
    failures = sum(summary.failures.values())
    print(
        f"{summary.episodes} episodes, {summary.frames} frames in {values['out']} "
        f"({failures} failed attempts left out, {summary.episodes_per_hour:.0f} episodes/h)"
    )
    return 130 if summary.interrupted else 0


def _parking(values: dict[str, Any]) -> CollectionSettings:
    from helmsight.training.collection.parking.settings import ParkingCollection

    for key in ("host", "port", "lot"):
        values.pop(key)  # they stand in simulator_options
    values["policy"] = Path(values["policy"]) if values["policy"] else None
    return ParkingCollection(**values)


def _libero(values: dict[str, Any]) -> CollectionSettings:
    from helmsight.training.collection.libero.settings import LiberoCollection

    tasks = values["tasks"]
    if tasks is not None:
        values["tasks"] = tuple(tasks) if isinstance(tasks, list) else (tasks,)
    return LiberoCollection(**values)


_SETTINGS = {"parking": _parking, "libero": _libero}
