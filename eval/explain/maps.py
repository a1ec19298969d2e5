"""Maps over a policy's tokens: what it attends to, what its actions depend on.

    attention             trained control-aided attention: the factor that gates each token
    target                what that attention was trained towards, without the noise of training
    self_attention        softmax weights of the fusion transformer, received by each token
    cross_attention       softmax weights of the driving head's queries
    gradient              the control gradient: exact norm of each token's block of the Jacobian
    integrated_gradients  Sundararajan et al. 2017, from the usual token to this one, by Captum
    masking               how far the actions move when the token is replaced by the usual one
    random                independent draws: what a map without any meaning scores

All are distributions over the tokens. `masking` is an intervention, all others are claims about
what it would show.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helmsight.eval.explain.faithfulness import ActionFunction, masking_influence
from helmsight.policies.explainable import (
    Explainable,
    TokenState,
    as_distribution,
    jacobian_power,
)

TITLES = {
    "attention": "trained attention",
    "target": "attention's training target",
    "gradient": "control gradient",
    "integrated_gradients": "integrated gradients (Captum)",
    "masking": "masking",
    "cross_attention": "raw cross-attention",
    "self_attention": "raw self-attention",
    "random": "random",
}
NOTES = {
    "attention": "The weights that control-aided attention lays on the tokens and scales them by. "
    "What is scaled down can still be read, so the weights alone do not say what drives the robot.",
    "target": "What the attention is trained towards. With the signal 'removal': how far the "
    "controls move, to first order, when a token becomes the usual one of its place. With "
    "'jacobian': how strongly they respond to any small change of it.",
    "gradient": "How strongly the controls respond to a small change of each token, the attention "
    "included: the exact norm of its block of the Jacobian. True nearby; silent on large changes.",
    "integrated_gradients": "Each token's contribution to the controls on the way from the usual "
    "token to this one, by Captum. Contributions add up to the whole difference.",
    "masking": "How far the controls move when one token is replaced by the usual one of its "
    "place: no claim but an experiment, though one token at a time. What two tokens say alike, "
    "neither shows here.",
    "cross_attention": "Softmax weights with which the driving head's queries mix the tokens, mean "
    "over heads and layers. They do not say what the mixed values do.",
    "self_attention": "Softmax weights that each cell's token receives in the fusion transformer, "
    "mean over heads and queries. They do not say what later layers make of it.",
    "random": "Independent draws: what a map without any meaning scores.",
}
MAPS = tuple(TITLES)


def captum_is_installed() -> bool:
    """Whether the optional package that integrated gradients come from is there."""
    return importlib.util.find_spec("captum") is not None


@dataclass(frozen=True)
class MapMaker:
    """Makes the maps of a policy's decisions.

    usual: the token that stands for "nothing in particular here", [N, D], one a place.
    integration_steps: of integrated gradients. names: which maps; those that the policy (or the
    installation) does not have are left out.
    """

    policy: Explainable
    usual: Tensor
    integration_steps: int = 16
    names: Sequence[str] = MAPS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.names) - set(MAPS))
        if unknown:
            raise ValueError(f"unknown map {unknown[0]!r}; the maps are {', '.join(MAPS)}")

    def action_function(self, state: TokenState) -> ActionFunction:
        """Tokens [B * R, N, D], R in a row for each decision of `state` -> actions [B * R, A]."""

        def actions(tokens: Tensor) -> Tensor:
            repeats = tokens.shape[0] // state.context.shape[0]
            context = state.context.repeat_interleave(repeats, dim=0)
            return self.policy.actions(TokenState(tokens, context))

        return actions

    def maps(
        self, batch: dict[str, Tensor], state: TokenState, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Every map that there is, by name in the order of `names`, each [B, N] and summing to 1.

        `state` must be the policy's tokens for `batch`.
        """
        actions = self.action_function(state)
        found: dict[str, Tensor | None] = dict(self.policy.raw_attention(batch))
        if "attention" in self.names:
            found["attention"] = self.policy.attention(state.tokens)
        if "target" in self.names:
            found["target"] = self.policy.attention_target(state)
        if "gradient" in self.names:
            found["gradient"] = as_distribution(jacobian_power(actions, state.tokens).sqrt())
        if "integrated_gradients" in self.names and captum_is_installed():
            found["integrated_gradients"] = self._integrated_gradients(state)
        if "masking" in self.names:
            influence = masking_influence(actions, state.tokens, self.usual)
            found["masking"] = as_distribution(influence)
        if "random" in self.names:
            found["random"] = random_maps(state.tokens.shape[:2], generator).to(state.tokens.device)
        return {name: chosen for name in self.names if (chosen := found.get(name)) is not None}

    def _integrated_gradients(self, state: TokenState) -> Tensor:
        """[B, N]: norm over the outputs of each token's contribution to them."""
        baseline = self.usual.expand_as(state.tokens)
        parts = integrated_gradients(
            lambda tokens, context: self.policy.actions(TokenState(tokens, context)),
            state.tokens,
            baseline,
            state.context,
            self.integration_steps,
        )
        contributions = torch.stack([part.sum(dim=2) for part in parts])  # A x [B, N, D]
        return as_distribution(contributions.square().sum(dim=0).sqrt())


def integrated_gradients(
    function: Any, inputs: Tensor, baseline: Tensor, context: Tensor, steps: int
) -> list[Tensor]:
    """Captum's attribution of each output of `function(inputs, context)` [B, A] to its inputs.

    A tensors of the inputs' shape; their sums are the outputs' differences from the baseline's
    (completeness), up to the error of `steps` points of Gauss-Legendre quadrature.
    """
    from captum.attr import IntegratedGradients

    with torch.no_grad():
        outputs = function(inputs[:1], context[:1]).shape[1]
    method = IntegratedGradients(function)
    return [
        method.attribute(
            inputs, baseline, target=entry, additional_forward_args=context, n_steps=steps
        ).detach()
        for entry in range(outputs)
    ]


def _chosen(values: Any, index: Tensor) -> Any:
    """The values of some decisions; sentences come as a list."""
    if isinstance(values, Tensor):
        return values[index]
    return [values[place] for place in index.tolist()]


def random_maps(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Maps drawn evenly from all distributions over N tokens, [B, N]."""
    draws = torch.rand(tuple(shape), generator=generator).clamp(min=1e-12)
    return as_distribution(-draws.log())


def image_saliency(policy: Explainable, batch: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Captum's integrated gradients of the next action in the camera images, [B, H, W] by key.

    From a grey image to the one seen; absolute contributions, summed over the channels, the norm
    over the entries of the next action. Empty without cameras or Captum.
    """
    keys = policy.image_keys()
    if not keys or not captum_is_installed():
        return {}
    others = {key: value for key, value in batch.items() if key not in keys}
    images = torch.stack([batch[key].float() for key in keys], dim=1)  # [B, C, H, W, 3]

    def next_action(stacked: Tensor, index: Tensor) -> Tensor:
        """Outputs [R, 3] for images [R, C, H, W, 3] of the decisions `index` [R]."""
        given = {key: stacked[:, place] for place, key in enumerate(keys)}
        given |= {key: _chosen(value, index) for key, value in others.items()}
        return policy.actions(policy.tokens(given))[:, : len(policy.action_names)]

    index = torch.arange(images.shape[0], device=images.device)
    grey = torch.full_like(images, 127.5)
    parts = integrated_gradients(next_action, images, grey, index, steps)
    strength = torch.stack([part.abs().sum(dim=-1) for part in parts])  # A x [B, C, H, W]
    strength = strength.square().sum(dim=0).sqrt()
    return {key: strength[:, place] for place, key in enumerate(keys)}
