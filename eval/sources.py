"""What can be evaluated: checkpoints, and drivers known by a name such as `expert`.

A new kind of driver is one class with `load` and `provenance`, entered by
`register_policy_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from helmsight.eval.provenance import sha256_of_files
from helmsight.eval.rollout import EvaluatedPolicy
from helmsight.policies.pretrained import (
    POLICY_FILES,
    policy_folder,
    pretrained_names,
    read_part,
)


class PolicySource(Protocol):
    """Where a policy comes from. Picklable: each worker process loads the policy for itself."""

    def load(self, device: str) -> EvaluatedPolicy:
        """The policy, ready to drive, on a torch device."""

    def provenance(self) -> dict[str, Any]:
        """What identifies the policy: "policy" (its kind) and, if it has weights, "sha256".

        Two sources with equal provenance drive equally; an evaluation resumes only onto the same.
        """


@dataclass(frozen=True)
class CheckpointSource:
    """A trained policy: a folder that `helmsight.policies.base.load_policy` reads."""

    folder: Path

    def load(self, device: str) -> EvaluatedPolicy:
        from helmsight.policies.base import load_policy

        return load_policy(self.folder).to(device).eval()

    def provenance(self) -> dict[str, Any]:
        folder = policy_folder(self.folder)
        files = [folder / name for name in POLICY_FILES]
        config = read_part(folder, "config.json")
        return {
            "policy": config.get("type", "unknown"),
            "config": config.get("config", {}),
            "checkpoint": str(self.folder),
            "sha256": sha256_of_files(files),
        }


@dataclass(frozen=True)
class ExpertSource:
    """The scripted expert, which knows the whole state: the upper bound of every policy."""

    def load(self, device: str) -> EvaluatedPolicy:
        from helmsight.eval.expert_policy import ExpertPolicy

        return ExpertPolicy()

    def provenance(self) -> dict[str, Any]:
        return {"policy": "expert"}


_SOURCES: dict[str, Callable[[], PolicySource]] = {"expert": ExpertSource}


def register_policy_source(name: str, factory: Callable[[], PolicySource]) -> None:
    """Let `checkpoint=name` mean what `factory` makes."""
    _SOURCES[name] = factory


def policy_source(checkpoint: str | Path) -> PolicySource:
    """The source that a name or a folder stands for.

    Raises ValueError for what is neither a known name nor a folder.
    """
    if str(checkpoint) in _SOURCES:
        return _SOURCES[str(checkpoint)]()
    folder = Path(checkpoint)
    if folder.is_dir() or str(checkpoint) in pretrained_names():
        return CheckpointSource(folder)
    names = ", ".join(sorted([*_SOURCES, *pretrained_names()])) or "none"
    raise ValueError(
        f"checkpoint={checkpoint} is neither a checkpoint's folder nor a known driver ({names})"
    )
