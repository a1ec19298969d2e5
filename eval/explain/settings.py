"""What is explained, and how finely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helmsight.eval.evaluation import EvaluationSettings


@dataclass(frozen=True)
class ExplainSettings:
    """One explanation; what is driven is said as for an evaluation.

    stride: steps between measured moments. deletion_steps: of the deletion and insertion curves.
    integration_steps: of integrated gradients. reference_episodes: episodes of split `train` (of a
    data set: spread over it) whose moments, every `reference_stride` steps, make the usual token.
    frame_stride: steps between the moments of a page and film.
    """

    checkpoint: str
    out: Path
    env: str = "helmsight/Parking-v0"
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    stride: int = 10
    deletion_steps: int = 16
    integration_steps: int = 16
    reference_episodes: int = 8
    reference_stride: int = 10
    frame_stride: int = 2

    def __post_init__(self) -> None:
        least = {"stride": 2}
        for name in (
            "workers",
            "threads",
            "stride",
            "deletion_steps",
            "integration_steps",
            "reference_episodes",
            "reference_stride",
            "frame_stride",
        ):
            if getattr(self, name) < least.get(name, 1):
                raise ValueError(
                    f"{name} must be {least.get(name, 1)} or more, got {getattr(self, name)}"
                )

    def driving(self, episodes: list[int], **options: Any) -> EvaluationSettings:
        """The evaluation settings that drive these episodes, with other environment options."""
        return EvaluationSettings(
            checkpoint=self.checkpoint,
            out=self.out,
            env=self.env,
            env_kwargs={**self.env_kwargs, **options},
            episodes=episodes,
            workers=self.workers,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
        )
