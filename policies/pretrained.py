"""Where a policy lies: a folder, a run that holds one, or the name of one that comes along.

The policies that come along lie in `policies/weights/`, a folder each, with the record of how
they were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helmsight.envs.spec import EmbodimentSpec

PRETRAINED = Path(__file__).resolve().parent / "weights"
POLICY_FILES = ("config.json", "model.safetensors", "statistics.json", "embodiment.json")


def pretrained_names() -> list[str]:
    """Names that `checkpoint=` understands beside folders."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def policy_folder(checkpoint: Path | str) -> Path:
    """The folder of the policy that a folder, a run folder or a name stands for.

    A folder of that name comes first. Raises FileNotFoundError, saying what is missing, when there
    is no policy.
    """
    folder = Path(checkpoint)
    if not folder.is_dir() and str(checkpoint) in pretrained_names():
        folder = PRETRAINED / str(checkpoint)
    if (folder / "policy").is_dir():
        folder = folder / "policy"
    missing = [name for name in POLICY_FILES if not (folder / name).is_file()]
    if missing:
        names = ", ".join(pretrained_names()) or "none comes along"
        raise FileNotFoundError(
            f"{checkpoint} holds no saved policy: {', '.join(missing)} missing in {folder}. "
            "Expected the folder of a policy, a training run that has finished, or a name "
            f"({names})"
        )
    return folder


def read_part(folder: Path, name: str) -> dict[str, Any]:
    """One JSON file of a saved policy. Raises ValueError naming a file that is damaged."""
    file = folder / name
    try:
        part = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(part, dict):
        raise ValueError(f"{file} is damaged: it holds no object")
    return part


def read_embodiment(folder: Path) -> EmbodimentSpec:
    """The robot that a saved policy is for. Raises ValueError naming a file that is damaged."""
    try:
        return EmbodimentSpec.from_dict(read_part(folder, "embodiment.json"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'embodiment.json'} is damaged: {error!r}") from error
