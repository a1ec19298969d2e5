"""`helmsight drift`: how far the tracked target drifts, by a motion model and by the bicycle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration, require_counts
from helmsight.cli.output_folder import DRIFT, output_folder

if TYPE_CHECKING:
    from helmsight.eval.drift import Drift
    from helmsight.eval.sensor_streams import StreamSettings

BICYCLE = "bicycle"


def run(words: list[str]) -> int:
    """Drive, track and compare; returns the exit code."""
    values = configuration("drift", words)
    if values is None:
        return 0
    from helmsight.eval.folder_log import write_atomically

    out = output_folder(values["out"], DRIFT)
    settings = _stream_settings(values)
    drifts = _measured(settings, values["motion"])
    summary = _summary(values, settings, drifts)
    write_atomically(out / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    _print_table(summary)
    print(f"summary: {out / 'summary.json'}")
    return 0


def _stream_settings(values: dict[str, Any]) -> StreamSettings:
    from helmsight.cli.trained_options import as_trained, refuse_other_robot
    from helmsight.envs.parking.scenario import FAMILIES, refuse_wrong_scenario
    from helmsight.eval.sensor_streams import StreamSettings
    from helmsight.eval.sources import policy_source

    unknown = sorted(set(values["families"]) - set(FAMILIES))
    if unknown or not values["families"]:
        raise ValueError(f"families must be of {', '.join(FAMILIES)}, got {values['families']}")
    require_counts(values, "episodes", "workers")
    for family in values["families"]:
        refuse_wrong_scenario(family, values["split"], values["episodes"] - 1, values["approach"])
    refuse_other_robot(values["driver"], arm=False)
    options = {"cameras": "none", **as_trained(values["driver"], {})}
    return StreamSettings(
        driver=policy_source(values["driver"]),
        out=Path(values["out"]) / "streams",
        families=tuple(values["families"]),
        split=values["split"],
        approach=values["approach"],
        episodes=values["episodes"],
        env_options={**options, "simulator": values["simulator"]},
        workers=values["workers"],
    )


def _measured(settings: StreamSettings, motion: str | None) -> dict[str, list[Drift]]:
    """Drifts by model, in the order of `settings.drives`."""
    import torch

    from helmsight.envs.parking.motion_model import BicycleMotion, MotionModel
    from helmsight.eval.drift import measure_drift
    from helmsight.eval.learned_motion import load_motion
    from helmsight.eval.progress import ProgressReporter
    from helmsight.eval.sensor_streams import sensor_streams

    torch.set_num_threads(1)
    models: dict[str, MotionModel] = {BICYCLE: BicycleMotion()}
    if motion is not None:
        models["learned"] = load_motion(motion)
    found: dict[str, list[Drift]] = {name: [] for name in models}
    streams = list(sensor_streams(settings))
    with ProgressReporter("Tracking", len(streams), success="tracked") as progress:
        for drive, stream in streams:
            for name, model in models.items():
                found[name].append(measure_drift(drive, stream, settings.scenario(drive), model))
            progress.advance(True)
    return found


def _summary(
    values: dict[str, Any], settings: StreamSettings, drifts: dict[str, list[Drift]]
) -> dict[str, Any]:
    from helmsight.envs.parking.task import SUCCESS_TOLERANCE
    from helmsight.eval.drift import paired_drift, summarise_drift
    from helmsight.eval.provenance import command_line, provenance
    from helmsight.eval.sources import CheckpointSource

    groups = {family: {family} for family in settings.families}
    if len(groups) > 1:
        groups["all"] = set(settings.families)

    def chosen(model: str, families: set[str]) -> list[Drift]:
        return [drift for drift in drifts[model] if drift.drive.family in families]

    summary: dict[str, Any] = {
        "models": {
            model: {name: summarise_drift(chosen(model, of)) for name, of in groups.items()}
            for model in drifts
        },
        "success_box": SUCCESS_TOLERANCE._asdict(),
        "streams": settings.identity(),
        **provenance(),
        "command": command_line(),
    }
    if "learned" in drifts:
        summary["learned_minus_bicycle"] = {
            name: paired_drift(chosen("learned", of), chosen(BICYCLE, of))
            for name, of in groups.items()
        }
        summary["motion"] = CheckpointSource(Path(values["motion"])).provenance()
    return summary


def _print_table(summary: dict[str, Any]) -> None:
    """Drift by family and model, then the differences and how honest the variances are."""
    heads = ("position m", "p95", "yaw deg", "p95", "share of success box", "max")
    print(f"{'family':<10} {'model':<8} " + " ".join(f"{head:>20}" for head in heads))
    for model, groups in summary["models"].items():
        for name, figures in groups.items():
            cells = []
            for key in ("position_m", "yaw_deg"):
                cells += [_interval(figures[key]), _number(figures[key]["p95"])]
            box = figures["share_of_success_box"]
            cells += [_interval(box), _number(box["max"])]
            print(f"{name:<10} {model:<8} " + " ".join(f"{cell:>20}" for cell in cells))
    for name, difference in summary.get("learned_minus_bicycle", {}).items():
        pieces = [f"{key} {_interval(entry)}" for key, entry in difference.items()]
        print(f"learned - bicycle, {name}: " + ", ".join(pieces))
    for name, figures in summary["models"].get("learned", {}).items():
        for what, components in figures["calibration"].items():
            shares = [
                f"{component} {100 * entry['within_1_sigma']['value']:.1f} / "
                f"{100 * entry['within_2_sigma']['value']:.1f} %"
                for component, entry in components.items()
            ]
            print(f"within 1 / 2 sigma, {name}, {what}: " + ", ".join(shares))


def _interval(entry: dict[str, Any]) -> str:
    if entry["low"] is None:
        return _number(entry["value"])
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _number(value: float) -> str:
    return f"{value:.3f}"
