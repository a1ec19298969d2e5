"""An exported policy behind the server's surface: onnxruntime alone, no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from helmsight.deploy.model import (
    MEMORY_KEY,
    TASK_KEY,
    ModelError,
    blank_observation,
    recalled,
)
from helmsight.envs.spec import EmbodimentSpec

METADATA = "helmsight"
OUTPUT = "actions"
# What a policy that remembers hands on; it is read under `MEMORY_KEY`.
NEXT_MEMORY = "next_memory"
# In the place of `task`, a sentence, the graph takes its index among the instructions it knows.
TASK_INDEX = "task_index"


class OnnxModel:
    """Decides with what `helmsight export` wrote: a file, or its content.

    about: what the file says of itself: policy, observation_keys, steps_per_decision, embodiment,
    provenance, and the instructions that it knows. Raises FileNotFoundError, and ValueError for
    what is no exported policy.
    """

    def __init__(self, file: Path | bytes, threads: int = 1) -> None:
        if isinstance(file, Path) and not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
        named = "the model" if isinstance(file, bytes) else str(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that spin while they wait would take the control loop's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                file if isinstance(file, bytes) else str(file),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # onnxruntime's own errors derive from nothing narrower
            raise ValueError(f"{named} is no readable ONNX file: {error}") from None
        written = self._session.get_modelmeta().custom_metadata_map
        if METADATA not in written:
            raise ValueError(f"{named} is an ONNX file, but none of `helmsight export`")
        self.about: dict[str, Any] = json.loads(written[METADATA])
        self.embodiment = EmbodimentSpec.from_dict(self.about["embodiment"])
        self.observation_keys = tuple(self.about["observation_keys"])
        self.steps_per_decision = int(self.about["steps_per_decision"])
        self.name = str(self.about["policy"])
        self._memory_size = int(self.about.get("memory_size", 0))
        known = self.about.get("instructions", [])
        self._index_of = {instruction: index for index, instruction in enumerate(known)}

    def warm_up(self) -> None:
        """Two decisions for nothing: onnxruntime plans its memory in the first."""
        blank = blank_observation(self.embodiment)
        if self._index_of:
            blank[TASK_KEY] = np.array(next(iter(self._index_of)))
        for _ in range(2):
            self.decide([blank])

    def decide(self, observations: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
        """B observations -> actions [B, K, A], one after the other.

        Raises ModelError for an instruction that the file does not know.
        """
        return np.concatenate([self._decide(observation) for observation in observations])

    def _decide(self, observation: dict[str, Any]) -> NDArray[np.float32]:
        inputs = {
            key: observation[key][None]  # [1, ...]
            for key in self.observation_keys
            if key != TASK_KEY
        }
        if self._index_of:
            inputs[TASK_INDEX] = np.array([self._index(str(observation[TASK_KEY]))])
        if self._memory_size == 0:
            (actions,) = self._session.run([OUTPUT], inputs)
            return np.asarray(actions, np.float32)
        (kept,), inputs[MEMORY_KEY] = recalled([observation], self._memory_size)
        actions, after = self._session.run([OUTPUT, NEXT_MEMORY], inputs)
        kept.values = np.asarray(after[0], np.float32)
        return np.asarray(actions, np.float32)

    def _index(self, instruction: str) -> int:
        if instruction not in self._index_of:
            known = ", ".join(map(repr, self._index_of))
            raise ModelError(
                f"the exported policy does not know the instruction {instruction!r}; it knows "
                f"{known}. With the checkpoint itself and a language model any sentence works"
            )
        return self._index_of[instruction]
