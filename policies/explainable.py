"""What a policy must answer so that its decisions can be explained.

A policy that decides from tokens with a place each says here how its actions follow from them:
observation -> tokens -> (attention that gates them) -> actions. Everything that explains it (maps,
masking, gradients) is computed from these few calls, in `helmsight.eval.explain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from helmsight.policies.modules.birds_eye import Grid

TokenFunction = Callable[[Tensor], Tensor]


class NothingToExplainError(ValueError):
    """A policy reads no tokens, so that there is nothing that it could look at."""


class TokenState(NamedTuple):
    """What a batch of decisions is made from, half way.

    tokens [B, N, D]: one for each cell of the token grid, or of whatever a policy without a grid
    gathers its cameras in, before any control-aided attention.
    context [B, D]: what the actions are decoded from beside them (the state).
    """

    tokens: Tensor
    context: Tensor


class Explainable(Protocol):
    """A policy as explanations see it. Nothing here changes the policy or what it remembers."""

    @property
    def token_grid(self) -> Grid | None:
        """The grid whose cells, row by row, the tokens stand for; None where they lie in none."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the first entries of `actions`: those of the action that is carried out next."""

    def observation_keys(self) -> list[str]:
        """Observation keys that a decision reads."""

    def tokens(self, batch: dict[str, Tensor]) -> TokenState:
        """Tokens of a batch of observations, differentiable in images that are given as floats."""

    def actions(self, state: TokenState) -> Tensor:
        """The driving head's outputs [B, A], normalised and not clipped; the next action first.

        Differentiable in the tokens, through the attention's own dependence on them too. All that
        the tokens do passes here: gate, decoder and whatever else reads them.
        """

    def even_actions(self, state: TokenState) -> Tensor | None:
        """`actions` with an attention that is the same for all tokens; None for a policy without.

        What the attention is used for is how far these lie from `actions`.
        """

    def attention(self, tokens: Tensor) -> Tensor | None:
        """The trained attention [B, N], a distribution over tokens; None for a policy without."""

    def attention_target(self, state: TokenState) -> Tensor | None:
        """The distribution [B, N] that the attention was trained towards; None where unknown."""

    def raw_attention(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Softmax weights that the transformers put on tokens, by name, distributions [B, N]."""

    def image_keys(self) -> tuple[str, ...]:
        """Keys of the camera images that the tokens come from; empty for a policy without."""

    def in_cameras(self, batch: dict[str, Tensor], maps: Tensor) -> Tensor | None:
        """Maps [B, M, N] as the cameras see them, [B, C, M, h, w]; None without cameras."""

    def waypoints(self, state: TokenState) -> Tensor | None:
        """Predicted future poses [B, W, 3] (m, m, rad) in the vehicle frame; None without any."""


def jacobian_power(function: TokenFunction, tokens: Tensor) -> Tensor:
    """Squared Frobenius norm [B, N] of each token's block of the Jacobian, sum_a ||df_a/dF_n||^2.

    `function` maps tokens [B, N, D] to outputs [B, A], no sample depending on another: one
    backward pass an output then serves the whole batch, and the norm is exact.
    """
    with torch.enable_grad():
        leaf = tokens.detach().requires_grad_(True)
        outputs = function(leaf)
        power = torch.zeros(tokens.shape[:2], device=tokens.device)
        for entry in range(outputs.shape[1]):
            (gradient,) = torch.autograd.grad(outputs[:, entry].sum(), leaf, retain_graph=True)
            power += gradient.square().sum(dim=2)  # [B, N, D] -> [B, N]
    return power


def removal_power(function: TokenFunction, tokens: Tensor, usual: Tensor) -> Tensor:
    """Squared first-order change [B, N] of the outputs when a token becomes the usual one [N, D].

    sum_a (df_a/dF_n . (F_n - U_n))^2, exact as `jacobian_power` is.
    """
    with torch.enable_grad():
        leaf = tokens.detach().requires_grad_(True)
        outputs = function(leaf)
        unusual = tokens.detach() - usual  # [B, N, D]
        power = torch.zeros(tokens.shape[:2], device=tokens.device)
        for entry in range(outputs.shape[1]):
            (gradient,) = torch.autograd.grad(outputs[:, entry].sum(), leaf, retain_graph=True)
            power += (gradient * unusual).sum(dim=2).square()
    return power


def as_distribution(strength: Tensor) -> Tensor:
    """Strengths [..., N] of 0 or more, scaled to sum to 1; uniform where there is none at all."""
    largest = strength.amax(dim=-1, keepdim=True)
    # By the largest first: sums of tiny strengths are no floats any more.
    scaled = torch.where(largest > 0.0, strength / largest, 1.0)
    return scaled / scaled.sum(dim=-1, keepdim=True)
