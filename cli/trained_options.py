"""Options of an environment that show a policy what it was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helmsight.envs.spec import EmbodimentSpec


def as_trained(checkpoint: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with what the checkpoint's policy looks at, where nothing else was asked for."""
    from helmsight.policies.pretrained import policy_folder, read_embodiment, read_part

    given = {key: value for key, value in options.items() if value is not None}
    try:
        folder = policy_folder(checkpoint)
    except FileNotFoundError:  # a driver without a checkpoint, or nothing: `evaluate` says which
        return given
    looks = camera_options(read_embodiment(folder))
    if read_part(folder, "config.json").get("config", {}).get("sees") == "label":
        looks["birds_eye"] = True
    return {**looks, **given}


def camera_options(embodiment: EmbodimentSpec) -> dict[str, Any]:
    """A vehicle's camera rig and image size, an arm's image size."""
    from helmsight.envs.parking.vehicle import parking_rig

    if _is_arm(embodiment):
        return {"image_size": embodiment.cameras[0].width}
    rig, size = parking_rig(embodiment)
    return {"cameras": rig, "image_size": size}


def refuse_other_robot(checkpoint: str, arm: bool) -> None:
    """Refuse a car's policy where an arm is driven, and an arm's where a car is.

    Raises ValueError. What is no saved policy passes: a driver's name, or nothing.
    """
    from helmsight.policies.pretrained import policy_folder, read_embodiment

    try:
        embodiment = read_embodiment(policy_folder(checkpoint))
    except FileNotFoundError:
        return
    if _is_arm(embodiment) != arm:
        has, wants = ("a car", "an arm") if arm else ("an arm", "a car")
        raise ValueError(
            f"{checkpoint} drives {has} ({embodiment.name}), and {wants} is to be driven; "
            "env=parking and env=libero name the environment"
        )


def _is_arm(embodiment: EmbodimentSpec) -> bool:
    from helmsight.envs.spec import VEHICLE

    return any(camera.frame != VEHICLE for camera in embodiment.cameras)
