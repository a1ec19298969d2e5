"""The modular driver as something that can be evaluated: picklable, with its provenance."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helmsight.eval.modular.perception import TRUE_LABEL, CameraPerception, LabelPerception
from helmsight.eval.modular.policy import ModularConfig, ModularPolicy
from helmsight.eval.sources import CheckpointSource


@dataclass(frozen=True)
class ModularSource:
    """The modular driver with the eyes of a checkpoint: a folder, a run, a name, or "label"."""

    checkpoint: Path | str
    config: ModularConfig = field(default_factory=ModularConfig)

    def load(self, device: str) -> ModularPolicy:
        """The driver; raises ValueError for a checkpoint without a semantic head."""
        if str(self.checkpoint) == TRUE_LABEL:
            return ModularPolicy(LabelPerception(), self.config)
        return ModularPolicy(CameraPerception(self.checkpoint, device), self.config)

    def environment_options(self) -> dict[str, Any]:
        """What the environment must be asked for beside the checkpoint's cameras."""
        return {"birds_eye": True} if str(self.checkpoint) == TRUE_LABEL else {}

    def provenance(self) -> dict[str, Any]:
        """Kind, options, and whose eyes: "label" or the checkpoint with its hash."""
        said = {"policy": "modular", "config": dataclasses.asdict(self.config)}
        if str(self.checkpoint) == TRUE_LABEL:
            return {**said, "perception": "true label"}
        eyes = CheckpointSource(Path(self.checkpoint)).provenance()
        whose = {key: eyes[key] for key in ("checkpoint", "sha256")}
        return {**said, "perception": "semantic head", **whose}
