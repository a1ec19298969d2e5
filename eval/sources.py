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

        policy: Any = load_policy(self.folder)
        policy.to(device)
        policy.eval()
        return policy  # type: ignore[no-any-return]

    def provenance(self) -> dict[str, Any]:
        from helmsight.policies.base import load_policy

        files = _checkpoint_files(self.folder)
        policy = type(load_policy(self.folder))
        return {
            "policy": f"{policy.__module__}.{policy.__qualname__}",
            "checkpoint": str(self.folder),
            "sha256": sha256_of_files(files),
        }


_SOURCES: dict[str, Callable[[], PolicySource]] = {}


def register_policy_source(name: str, factory: Callable[[], PolicySource]) -> None:
    """Let `checkpoint=name` mean what `factory` makes."""
    _SOURCES[name] = factory


def policy_source(checkpoint: str | Path) -> PolicySource:
    """The source that a name or a folder stands for.

    Raises ValueError for what is neither a registered name nor a folder.
    """
    if str(checkpoint) in _SOURCES:
        return _SOURCES[str(checkpoint)]()
    folder = Path(checkpoint)
    if folder.is_dir():
        return CheckpointSource(folder)
    names = ", ".join(sorted(_SOURCES)) or "none"
    raise ValueError(
        f"checkpoint={checkpoint} is neither a checkpoint's folder nor a known driver ({names})"
    )


def _checkpoint_files(folder: Path) -> list[Path]:
    """The files of a checkpoint folder, or of the last checkpoint of a run folder."""
    for candidate in (folder, folder / "checkpoints" / "last", folder / "last"):
        if (candidate / "model.safetensors").is_file():
            return [path for path in candidate.resolve().iterdir() if path.is_file()]
    raise ValueError(f"{folder} holds no checkpoint: expected model.safetensors in it")
