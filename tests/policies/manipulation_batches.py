"""A tiny manipulation policy with batches and observations that fit it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from helmsight.envs.spec import CameraSpec, EmbodimentSpec, VectorSpec
from helmsight.policies.base import Observation, Statistics
from helmsight.policies.manipulation import ManipulationPolicy, ManipulationPolicyConfig
from helmsight.policies.modules.control_aided import ControlAidedAttentionConfig
from helmsight.policies.modules.film_vision import VisionConfig
from helmsight.policies.modules.routed_trunk import TrunkConfig

INSTRUCTIONS = ("pick up the milk", "pick up the butter")
WORDS = 16  # entries of an embedding
CHUNK, ENTRIES = 4, 7
VISION = VisionConfig(
    stem_channels=8, stem_blocks=1, width=16, heads=2, blocks=2, film_rank=4, aggregation_tokens=4
)
TRUNK = TrunkConfig(width=16, heads=2, layers=4, router_rank=4)
STATISTICS: Statistics = {
    "observation.state": {"mean": [0.1] * 8, "std": [0.5] * 8},
    "action": {
        "min": [-1.0] * 7,
        "max": [1.0] * 7,
        "q01": [-0.8] * 6 + [-1.0],
        "q99": [0.9] * 6 + [1.0],
    },
}


def arm(image_size: int = 32) -> EmbodimentSpec:
    """A robot arm with a camera before it and one on its wrist."""
    cameras = tuple(
        CameraSpec(name, (0.0, 0.0, 1.0), 0.0, 0.0, 0.8, image_size, image_size)
        for name in ("agentview", "eye_in_hand")
    )
    state = [f"{part}_{axis}" for part in ("position", "rotation") for axis in "xyz"]
    names = (*state, "finger_left", "finger_right")
    moves = (*(f"move_{name}" for name in state), "gripper")
    return EmbodimentSpec(
        "arm",
        20,
        cameras,
        VectorSpec(names, ("1",) * 8, (-4.0,) * 8, (4.0,) * 8),
        VectorSpec(moves, ("1",) * 7, (-1.0,) * 7, (1.0,) * 7),
    )


def embedding(instruction: str) -> list[float]:
    """A made-up embedding of norm 1, a function of the sentence alone."""
    generator = np.random.default_rng(list(instruction.encode()))
    vector = generator.normal(size=WORDS)
    return [round(float(value), 6) for value in vector / np.linalg.norm(vector)]


def embeddings() -> dict[str, list[float]]:
    return {instruction: embedding(instruction) for instruction in INSTRUCTIONS}


def tiny_config(signal: str = "removal", **changes: Any) -> ManipulationPolicyConfig:
    values: dict[str, Any] = {
        "chunk": CHUNK,
        "steps_per_decision": CHUNK,
        "instruction_width": WORDS,
        "vision": VISION,
        "trunk": TRUNK,
        "attention": ControlAidedAttentionConfig(signal),
    }
    return ManipulationPolicyConfig(**{**values, **changes})


def tiny_policy(signal: str = "removal", seed: int = 0, **changes: Any) -> ManipulationPolicy:
    """An untrained policy; `changes` are entries of its configuration."""
    torch.manual_seed(seed)
    policy = ManipulationPolicy(tiny_config(signal, **changes), arm(), STATISTICS).eval()
    policy.know_instructions(embeddings())
    return policy


def tiny_batch(size: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Random windows as the training data gives them."""
    generator = torch.Generator().manual_seed(seed)
    shape = (size, 32, 32, 3)
    batch = {
        key: torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        for key in arm().image_keys
    }
    return batch | {
        "observation.state": torch.randn(size, 8, generator=generator),
        "task_index": torch.arange(size) % len(INSTRUCTIONS),
        "action": torch.rand(size, CHUNK, ENTRIES, generator=generator) * 2.0 - 1.0,
        "action_is_pad": torch.zeros(size, CHUNK, dtype=torch.bool),
    }


def tiny_observation(instruction: str = INSTRUCTIONS[0], seed: int = 0) -> Observation:
    """One observation as an environment gives it."""
    batch = tiny_batch(1, seed)
    keys = (*arm().image_keys, "observation.state")
    return {**{key: batch[key][0].numpy() for key in keys}, "task": instruction}
