"""Checkpoints that are on disk whole or not at all.

```
checkpoints/
├── 000100/
│   ├── model.safetensors       weights as trained
│   ├── average.safetensors     exponential moving average of the weights (if the run keeps one)
│   ├── optimizer.safetensors   AdamW's moments
│   └── trainer.json            step, elapsed time, running means, the optimiser's groups
├── 000200/
└── last                        one line: the name of the newest whole checkpoint
```
Nothing is pickled. No generator's state is stored because none carries over from step to step: the
trainer derives every random number from (seed, step).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from helmsight.training.ema import ExponentialMovingAverage

_UNFINISHED = ".unfinished-"
_DISCARDED = ".discarded-"


def write_file_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: a reader, or a kill at any moment, sees the old or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)


def write_folder_atomically(folder: Path, write: Callable[[Path], None]) -> None:
    """Make `folder` out of what `write` puts into an empty one; an old `folder` is replaced.

    Where `write` raises, nothing of what it wrote is left, and an old `folder` stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f"{_UNFINISHED}{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        write(unfinished)
        for path in unfinished.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs its space
        raise
    _discard(folder)
    unfinished.rename(folder)


def _discard(folder: Path) -> None:
    """Delete `folder`; renamed first, so that a kill in between leaves no half-empty checkpoint."""
    discarded = folder.with_name(f"{_DISCARDED}{folder.name}")
    shutil.rmtree(discarded, ignore_errors=True)
    if folder.exists():
        folder.rename(discarded)
        shutil.rmtree(discarded)


class CheckpointStore:
    """The `checkpoints/` folder of a run: the newest `keep` ones and the pointer `last`."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, got keep={keep}")
        self.folder = folder
        self.keep = keep

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Write a checkpoint through `write(folder)`, point `last` at it, delete the old ones.

        Raises OSError where it can not be written, naming the checkpoint that there is instead.
        """
        folder = self.folder / f"{step:06d}"
        try:
            write_folder_atomically(folder, write)
        except (SafetensorError, OSError) as error:
            raise OSError(self._not_written(step, error)) from error
        write_file_atomically(self.folder / "last", f"{folder.name}\n")
        self._prune(newest=step)
        return folder

    def _not_written(self, step: int, error: Exception) -> str:
        last = self.last()
        kept = f"the last good one is {last}" if last else "there is none before it"
        return (
            f"the checkpoint of step {step} could not be written ({error}); {kept}. Free some "
            "space and run the same command again"
        )

    def last(self) -> Path | None:
        """The newest whole checkpoint, None before the first."""
        pointer = self.folder / "last"
        if not pointer.is_file():
            return None
        folder = self.folder / pointer.read_text(encoding="utf-8").strip()
        if not folder.is_dir():
            raise ValueError(f"{pointer} names {folder.name}, but there is no folder {folder}")
        return folder

    def _prune(self, newest: int) -> None:
        for leftover in self.folder.glob(".*-*"):
            if leftover.name.startswith((_UNFINISHED, _DISCARDED)):
                shutil.rmtree(leftover, ignore_errors=True)
        steps = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        for step in [step for step in steps if step <= newest][: -self.keep]:
            _discard(self.folder / f"{step:06d}")


@dataclass
class Progress:
    """How far a run has come: what a checkpoint holds besides weights and moments.

    `running_sums` are the sums of the logged values since the last log line, over `running_count`
    steps, kept so that a line after a resume is the line of the run that was not interrupted.
    """

    step: int = 0
    elapsed_seconds: float = 0.0
    running_sums: dict[str, float] = field(default_factory=dict)
    running_count: int = 0


@dataclass(frozen=True)
class TrainingState:
    """Everything that one training step hands to the next."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    average: ExponentialMovingAverage | None
    progress: Progress

    def write(self, folder: Path) -> None:
        """Write all of it into an existing folder."""
        save_file(_independent(self.module.state_dict()), folder / "model.safetensors")
        if self.average is not None:
            save_file(_independent(self.average.state_dict()), folder / "average.safetensors")
        optimizer = self.optimizer.state_dict()
        moments = {
            f"{index}.{name}": tensor
            for index, entries in optimizer["state"].items()
            for name, tensor in entries.items()
        }
        save_file(_independent(moments), folder / "optimizer.safetensors")
        trainer = {
            "progress": self.progress.__dict__,
            "optimizer_groups": optimizer["param_groups"],
        }
        text = json.dumps(trainer, indent=1)
        (folder / "trainer.json").write_text(text, encoding="utf-8")

    def read(self, folder: Path) -> None:
        """Take over what `write` left in `folder`.

        Raises ValueError naming the tensors that are missing, unexpected or of another shape.
        """
        load_weights(self.module, folder / "model.safetensors")
        if self.average is not None:
            self.average.load_state_dict(_load(folder / "average.safetensors"))
        trainer = json.loads((folder / "trainer.json").read_text(encoding="utf-8"))
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _load(folder / "optimizer.safetensors").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        groups: list[dict[str, Any]] = trainer["optimizer_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        # Files hold plain strides. A fused optimiser walks a weight and its moments side by side
        # in memory, so a moment must lie as its weight does (channels-last, for one).
        for parameter, entries in self.optimizer.state.items():
            for name, tensor in entries.items():
                if tensor.shape == parameter.shape:
                    entries[name] = torch.empty_like(parameter).copy_(tensor)
        for name, value in trainer["progress"].items():
            setattr(self.progress, name, value)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a safetensors file strictly. Raises ValueError naming every tensor that does not fit."""
    state = _load(path)
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    problems += [f"{name} is unknown" for name in sorted(state.keys() - expected.keys())]
    problems += [
        f"{name} has shape {list(state[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise ValueError(f"{path} does not fit the network: " + "; ".join(problems))
    module.load_state_dict(state)


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"the checkpoint is incomplete: there is no {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error


def _independent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies without shared memory or strides, which safetensors refuses."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
