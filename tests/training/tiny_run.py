"""A data source and a policy small enough to train in seconds; also a program to be killed.

`python tiny_run.py OUT KEY=VALUE...` trains in OUT, each KEY a field of TrainingSettings (int).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from helmsight.envs.parking.vehicle import STATE
from helmsight.training.augmentation import Augmentation, AugmentationSettings
from helmsight.training.settings import TrainingSettings
from helmsight.training.trainer import TrainingSummary, train_on

CAMERA = "observation.images.front"


class TinyData:
    """Batches that are a function of the step, augmented like real ones."""

    def __init__(
        self,
        batch_size: int = 4,
        delay: float = 0.0,
        broken_at: int | None = None,
        interrupted_at: int | None = None,
    ) -> None:
        self.batch_size, self.delay = batch_size, delay
        self.broken_at, self.interrupted_at = broken_at, interrupted_at
        self.augmentation = Augmentation(AugmentationSettings(), STATE, seed=0)
        self.started_at: list[int] = []

    def make(self, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        size = (self.batch_size, 16, 16, 3)
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        state = torch.randn(self.batch_size, 8, generator=generator)
        return {CAMERA: images, "observation.state": state, "action": state[:, :3].sin()}

    def batches(
        self, policy: nn.Module, start_step: int, process: int
    ) -> Iterator[dict[str, Tensor]]:
        self.started_at.append(start_step)
        step = start_step
        while True:
            time.sleep(self.delay)
            batch = self.augmentation(self.make(step + 1000 * process), step)
            if self.broken_at is not None and step + 1 == self.broken_at:
                batch["action"] = batch["action"] * float("nan")
            if self.interrupted_at == step + 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch
            step += 1

    def validation_batches(self, policy: nn.Module) -> Iterator[dict[str, Tensor]]:
        yield from (self.make(10_000 + index) for index in range(2))


class TinyPolicy(nn.Module):
    """Uses every source of randomness a policy may: dropout, global and own generators."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, 16)
        self.encoder = nn.Conv2d(3, 8, 4, stride=4)
        self.encoder.to(memory_format=torch.channels_last)
        self.trunk = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 3)
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))
        self.generator = torch.Generator().manual_seed(5)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        images = batch[CAMERA].permute(0, 3, 1, 2).float() / 255.0
        seen = self.encoder(images).mean(dim=(2, 3))
        tokens = torch.cat([seen, batch["observation.state"]], dim=1)
        if self.training:
            self.batches_seen += 1
            tokens = tokens + 0.01 * torch.randn(tokens.shape, generator=self.generator)
        action = self.head(self.trunk(tokens) + self.embedding.weight[0])
        imitation = (action - batch["action"]).square().mean()
        smooth = action.abs().mean()
        return imitation + 0.1 * smooth, {"imitation": imitation, "smooth": smooth}

    def save(self, folder: Path) -> None:
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")


def tiny_settings(out: Path, **changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {
        "data": (),
        "out": out,
        "max_steps": 12,
        "batch_size": 4,
        "warmup_steps": 3,
        "log_every": 1,
        "validate_every": 6,
        "checkpoint_every": 5,
        "device": "cpu",
    }
    return TrainingSettings(**{**values, **changes})


def tiny_run(out: Path, data: TinyData | None = None, **changes: Any) -> TrainingSummary:
    return train_on(data or TinyData(), tiny_settings(out, **changes), TinyPolicy)


def logged(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what depends on the clock."""
    clock = ("samples_per_second", "data_share", "elapsed_minutes")
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


if __name__ == "__main__":
    changes = {key: int(value) for key, value in (pair.split("=") for pair in sys.argv[2:])}
    tiny_run(Path(sys.argv[1]), TinyData(delay=changes.pop("delay_ms", 0) / 1000), **changes)
