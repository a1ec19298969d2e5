"""`helmsight eval`: drive a policy in closed loop and report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration


def run(words: list[str]) -> int:
    """Evaluate; returns the exit code: 1 when episodes ended in an error."""
    values = configuration("eval", words)
    if values is None:
        return 0
    from helmsight.eval.evaluation import (
        EpisodesFailed,
        EvaluationInterrupted,
        EvaluationSettings,
        evaluate,
    )

    out = Path(values["out"])
    settings = EvaluationSettings(
        checkpoint=values["checkpoint"],
        out=out,
        env=values["env_id"],
        env_kwargs=_with_cameras(values["checkpoint"], values["env_options"]),
        **{
            key: values[key]
            for key in (
                "episodes",
                "workers",
                "threads",
                "seed",
                "device",
                "success_videos",
                "failure_videos",
            )
        },
    )
    try:
        summary = evaluate(settings)
    except EvaluationInterrupted as interruption:
        print(f"helmsight eval: {interruption}")
        return 130
    except EpisodesFailed as failure:
        print(failure.summary.table())
        print(f"helmsight eval: {failure}")
        return 1
    print(summary.table())
    print(f"report: {out / 'report.html'}")
    return 0


def _with_cameras(checkpoint: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with the checkpoint's camera rig and image size where none were asked for."""
    from helmsight.envs.parking.vehicle import parking_rig
    from helmsight.envs.spec import EmbodimentSpec

    given = {key: value for key, value in options.items() if value is not None}
    for folder in (Path(checkpoint) / "policy", Path(checkpoint)):
        file = folder / "embodiment.json"
        if file.is_file():
            rig, size = parking_rig(EmbodimentSpec.from_dict(json.loads(file.read_text())))
            return {"cameras": rig, "image_size": size, **given}
    return given
