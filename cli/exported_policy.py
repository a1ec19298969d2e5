"""An exported file as what `helmsight eval` drives with.

It stands here because it joins the evaluator of `eval` with the exported model of `deploy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.cli.trained_options import camera_options
from helmsight.deploy.model import MEMORY_KEY, Recollection
from helmsight.deploy.onnx_model import OnnxModel
from helmsight.eval.provenance import sha256_of_files


class ExportedPolicy:
    """An exported model as the evaluator asks of a policy: chunks, carried out step by step."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.embodiment = model.embodiment
        self._queue: deque[NDArray[np.float32]] = deque()
        self._kept = Recollection()

    def observation_keys(self) -> Sequence[str]:
        """Observation keys that a decision reads."""
        return self._model.observation_keys

    def reset(self) -> None:
        """Forget what is left of the last chunk, and what was seen: a new episode begins."""
        self._queue.clear()
        self._kept = Recollection()

    @property
    def needs_observation(self) -> bool:
        """Whether the next `select_action` decides anew, and so reads its observation."""
        return not self._queue

    def select_action(self, observation: dict[str, Any]) -> NDArray[np.float32]:
        """Batch of one observation (tensors) -> the next action [1, A]."""
        if not self._queue:
            keys = self._model.observation_keys
            seen = {key: _one(observation[key]) for key in keys}
            (chunk,) = self._model.decide([{**seen, MEMORY_KEY: self._kept}])
            self._queue.extend(chunk[: self._model.steps_per_decision])
        return self._queue.popleft()[None]  # [A] -> [1, A]


def _one(values: Any) -> Any:
    """The first of a batch: an array of a tensor, or a sentence of a list."""
    return values[0].numpy() if hasattr(values[0], "numpy") else values[0]


@dataclass(frozen=True)
class ExportedSource:
    """An exported file; each worker process loads it for itself."""

    file: Path
    threads: int = 1

    def load(self, device: str) -> ExportedPolicy:
        """Raises ValueError for a device other than the CPU."""
        if device != "cpu":
            raise ValueError(f"device={device}: an exported policy runs on the CPU (device=cpu)")
        return ExportedPolicy(OnnxModel(self.file, self.threads))

    def provenance(self) -> dict[str, Any]:
        made_from = OnnxModel(self.file).about["provenance"]
        return {
            "policy": f"{made_from['policy']} (onnx)",
            "quantize": made_from["quantize"],
            "config": made_from["config"],
            "exported_from": made_from["sha256"],
            "checkpoint": str(self.file),
            "sha256": sha256_of_files([self.file]),
        }

    def environment_options(self) -> dict[str, Any]:
        """What the policy was trained to look with."""
        return camera_options(OnnxModel(self.file).embodiment)
