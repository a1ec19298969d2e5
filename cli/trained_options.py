"""Options of an environment that show a policy what it was trained with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helmsight.envs.spec import EmbodimentSpec


def as_trained(checkpoint: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with what the checkpoint's policy looks at, where nothing else was asked for."""
    from helmsight.envs.spec import EmbodimentSpec
    from helmsight.policies.pretrained import policy_folder

    given = {key: value for key, value in options.items() if value is not None}
    try:
        folder = policy_folder(checkpoint)
    except FileNotFoundError:  # a driver without a checkpoint, or nothing: `evaluate` says which
        return given
    looks = camera_options(EmbodimentSpec.from_dict(_json(folder / "embodiment.json")))
    if _json(folder / "config.json")["config"].get("sees") == "label":
        looks["birds_eye"] = True
    return {**looks, **given}


def camera_options(embodiment: EmbodimentSpec) -> dict[str, Any]:
    """A vehicle's camera rig and image size, an arm's image size."""
    from helmsight.envs.parking.vehicle import parking_rig
    from helmsight.envs.spec import VEHICLE

    cameras = embodiment.cameras
    if any(camera.frame != VEHICLE for camera in cameras):
        return {"image_size": cameras[0].width}
    rig, size = parking_rig(embodiment)
    return {"cameras": rig, "image_size": size}


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
