"""What a user may turn about a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from helmsight.policies.device import usable_device
from helmsight.training.augmentation import AugmentationSettings
from helmsight.training.schedule import Budget, LearningRateSchedule

Precision = Literal["auto", "no", "bf16"]


@dataclass(frozen=True)
class TrainingSettings:
    """Everything about a run but the policy. `batch_size` is a process's, in samples.

    `max_steps` alone gives a run that can be repeated and resumed bit for bit on the same machine;
    see `Budget` for `max_minutes`. 0 turns off `ema_decay`, `validate_every` and
    `gradient_clip_norm`; steps count from 1.
    """

    data: tuple[Path, ...]
    out: Path
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    final_learning_rate_fraction: float = 0.01
    warmup_steps: int = 200
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip_norm: float = 1.0
    ema_decay: float = 0.999
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    log_every: int = 20
    validate_every: int = 500
    checkpoint_every: int = 500
    validation_fraction: float = 0.05  # of the episodes
    validation_batches: int = 16
    frame_stride: int = 1  # train on every n-th frame of an episode
    mirror: float | None = 0.0  # probability that a sample is mirrored, see mirroring.py
    loader_threads: int = 1
    cpu_threads: int | None = None  # None: as torch has it, all cores
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        self.budget, self.schedule  # noqa: B018  checked when made
        for name in (
            "batch_size",
            "log_every",
            "checkpoint_every",
            "frame_stride",
            "loader_threads",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("weight_decay", "gradient_clip_norm", "validate_every", "validation_batches"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction must lie in [0, 1), got {self.validation_fraction}"
            )
        if self.precision not in ("auto", "no", "bf16"):
            raise ValueError(f"precision must be auto, no or bf16, got {self.precision!r}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got {self.device!r}")
        if self.device == "cuda":
            usable_device(self.device)
        if len({folder.absolute() for folder in self.data}) < len(self.data):
            raise ValueError(f"a data set comes twice: {', '.join(map(str, self.data))}")

    @property
    def budget(self) -> Budget:
        return Budget(self.max_steps, self.max_minutes)

    @property
    def schedule(self) -> LearningRateSchedule:
        return LearningRateSchedule(
            self.learning_rate, self.warmup_steps, self.final_learning_rate_fraction
        )


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether the forward pass runs under bfloat16 autocast on `device`.

    `auto` says yes on a GPU that has it, and no on CPUs: also where they multiply matrices of it in
    hardware (AMX), casting around networks this small costs more than the products save: 1.2 to 1.7
    times the time of a step in float32. Raises ValueError when bf16 is demanded of a GPU that has
    none.
    """
    if device.type != "cuda":
        return precision == "bf16"
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and not supported:
        raise ValueError(f"precision=bf16, but {torch.cuda.get_device_name(device)} has none")
    return precision == "bf16" or (precision == "auto" and supported)
