"""A tiny parking policy with batches and observations that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import Observation, Statistics
from helmsight.policies.modules.birds_eye import DepthBins, Grid
from helmsight.policies.modules.control_aided import ControlAidedAttentionConfig
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig

STATISTICS: Statistics = {"observation.state": {"mean": [0.1] * 8, "std": [1.5] * 8}}
TINY: dict[str, Any] = {
    "width": 16,
    "attention_heads": 2,
    "image_channels": 8,
    "image_blocks": 1,
    "decoder_layers": 1,
    "depth": DepthBins(0.5, 12.5, 8),
    "grid": Grid(16, 10.0),
}


def tiny_policy(
    signal: str = "removal", image_size: int = 32, seed: int = 0, **changes: Any
) -> ParkingPolicy:
    """An untrained policy; `changes` are entries of its configuration."""
    config = ParkingPolicyConfig(
        **{**TINY, "attention": ControlAidedAttentionConfig(signal), **changes}
    )
    torch.manual_seed(seed)
    embodiment = parking_embodiment("surround4", image_size)
    return ParkingPolicy(config, embodiment, STATISTICS).eval()


def random_batch(embodiment: EmbodimentSpec, size: int, chunk: int = 4) -> dict[str, Tensor]:
    """A training batch with the shapes and types of the contract."""
    generator = torch.Generator().manual_seed(7)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, (size, *shape), generator=generator)

    batch = {
        key: integers(0, 256, camera.height, camera.width, 3).byte()
        for key, camera in zip(embodiment.image_keys, embodiment.cameras, strict=True)
    }
    batch |= {key: integers(500, 65536, 16, 16).int() for key in embodiment.depth_keys}
    padding = torch.zeros(size, chunk, dtype=torch.bool)
    padding[-1, -1] = True
    return batch | {
        "observation.state": torch.randn(size, 8, generator=generator),
        "observation.birds_eye": integers(0, 3, 200, 200).byte(),
        "action": torch.rand(size, chunk, 3, generator=generator),
        "action_is_pad": padding,
        "simulator.state": torch.randn(size, 6, 5, generator=generator),
    }


def random_observation(embodiment: EmbodimentSpec, seed: int = 0, count: int = 0) -> Observation:
    """An observation as the environment gives it, or a batch of `count` of them."""
    random = np.random.default_rng(seed)
    leading = (count,) if count else ()
    images = {
        key: random.integers(0, 256, (*leading, camera.height, camera.width, 3), dtype=np.uint8)
        for key, camera in zip(embodiment.image_keys, embodiment.cameras, strict=True)
    }
    state = random.normal(size=(*leading, embodiment.state.size)).astype(np.float32)
    label = random.integers(0, 3, (*leading, 200, 200), dtype=np.uint8)
    return {**images, "observation.state": state, "observation.birds_eye": label}


def saved_policy(folder: Path, sees: str = "cameras") -> Path:
    """An untrained policy on disk."""
    tiny_policy(sees=sees).save(folder)
    return folder


def trained_a_little(policy: ParkingPolicy, batch: dict[str, Tensor], steps: int) -> list[float]:
    """The losses of a few steps on one batch."""
    policy.train()
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        loss, _ = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
