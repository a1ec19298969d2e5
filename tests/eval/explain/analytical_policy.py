"""A policy whose actions are a known function of its tokens, with everything that explains it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.eval.explain.frames import Frame, Recording
from helmsight.policies.explainable import TokenState, as_distribution
from helmsight.policies.modules.birds_eye import Grid

SIZE, WIDTH, OUTPUTS = 4, 3, 2


class LinearPolicy:
    """actions_a = sum over n, d of weights[n, d, a] tokens[n, d]; its tokens are observed."""

    action_names = ("acceleration", "steer")

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights  # [N, D, A]
        self.token_grid = Grid(SIZE, 10.0)

    def observation_keys(self) -> list[str]:
        return ["tokens"]

    def tokens(self, batch: dict[str, Tensor]) -> TokenState:
        return TokenState(batch["tokens"], torch.zeros(len(batch["tokens"]), 1))

    def actions(self, state: TokenState) -> Tensor:
        return torch.einsum("bnd,nda->ba", state.tokens, self.weights)

    def contributions(self, tokens: Tensor, usual: Tensor) -> Tensor:
        """What each token adds to each output beside the usual one, [B, N, A]."""
        return torch.einsum("bnd,nda->bna", tokens - usual, self.weights)

    def even_actions(self, state: TokenState) -> Tensor | None:
        """Its attention gates nothing; say that without it half of every action were gone."""
        return 0.5 * self.actions(state)

    def attention(self, tokens: Tensor) -> Tensor | None:
        return as_distribution(tokens.abs().sum(dim=2))

    def attention_target(self, state: TokenState) -> Tensor | None:
        return None

    def raw_attention(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def image_keys(self) -> tuple[str, ...]:
        return ()

    def in_cameras(self, batch: dict[str, Tensor], maps: Tensor) -> Tensor | None:
        return None

    def waypoints(self, state: TokenState) -> Tensor | None:
        return None


def positive_policy(seed: int = 0) -> LinearPolicy:
    """Every token pushes every output upwards: what is taken away adds up and never cancels."""
    generator = torch.Generator().manual_seed(seed)
    return LinearPolicy(torch.rand(SIZE**2, WIDTH, OUTPUTS, generator=generator) + 0.01)


def positive_tokens(count: int, seed: int = 1) -> Tensor:
    """Tokens [count, N, D] above the usual token 0, of very different strengths."""
    generator = torch.Generator().manual_seed(seed)
    strength = torch.rand(count, SIZE**2, 1, generator=generator) ** 3
    return strength * (torch.rand(count, SIZE**2, WIDTH, generator=generator) + 0.5)


def recording_of(tokens: Tensor, poses: list[Pose] | None = None) -> Recording:
    """One moment for each of tokens [T, N, D], at consecutive steps."""
    label = np.zeros((200, 200), np.uint8)
    label[:100] = 1
    frames = [
        Frame(
            step,
            {"tokens": one.numpy()},
            np.zeros(2, np.float32),
            None if poses is None else poses[step],
            label,
        )
        for step, one in enumerate(tokens)
    ]
    return Recording("val/0", frames, 10, True)
