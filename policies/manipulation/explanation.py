"""The manipulation policy as explanations see it; implements `policies.explainable.Explainable`."""

from __future__ import annotations

import torch
from torch import Tensor

from helmsight.policies.explainable import TokenState, as_distribution
from helmsight.policies.explained_attention import ExplainedAttention
from helmsight.policies.manipulation.policy import CONTEXT_TOKENS, ManipulationPolicy
from helmsight.policies.modules.transformer import Attention, recorded_weights


class ManipulationExplanation:
    """See `Explainable`. Its tokens are what the vision encoder gathers: they lie in no grid."""

    token_grid = None

    def __init__(self, policy: ManipulationPolicy) -> None:
        self._policy = policy
        self._attention = ExplainedAttention(
            policy.attention,
            policy.config.attention,
            policy.config.trunk.width,
            policy.trunk.vision,
            next(policy.parameters()).device,
        )
        self._gate = self._attention.gate

    @property
    def action_names(self) -> tuple[str, ...]:
        return self._policy.embodiment.action.names

    def observation_keys(self) -> list[str]:
        return self._policy.observation_keys()

    def tokens(self, batch: dict[str, Tensor]) -> TokenState:
        seen = self._policy.see(batch)
        return TokenState(seen.tokens, seen.context.flatten(1))  # [B, 2, D] -> [B, 2 D]

    def actions(self, state: TokenState) -> Tensor:
        """The next action and the mean over the chunk, which says where it leads: [B, 2 A]."""
        return self._outputs(self._gate(state.tokens).tokens, state.context)

    def even_actions(self, state: TokenState) -> Tensor | None:
        evened = self._attention.even(state.tokens)
        return None if evened is None else self._outputs(evened, state.context)

    def _outputs(self, tokens: Tensor, context: Tensor) -> Tensor:
        """`actions` of gated tokens."""
        chunk = self._chunk(tokens, context)
        return torch.cat([chunk[:, 0], chunk.mean(dim=1)], dim=1)

    def _chunk(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Normalised actions [B, K, A] of gated tokens."""
        return self._policy.decode(tokens, context.unflatten(1, (CONTEXT_TOKENS, -1)))

    def attention(self, tokens: Tensor) -> Tensor | None:
        return self._attention.map(tokens)

    def attention_target(self, state: TokenState) -> Tensor | None:
        def ungated(tokens: Tensor) -> Tensor:
            return self._chunk(tokens, state.context).flatten(1)  # [B, K, A] -> [B, K * A]

        return self._attention.target(state.tokens, ungated)

    @torch.no_grad()
    def raw_attention(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`cross_attention`: what the action slots give to each token, mean over heads and layers.

        Of the layers that keep every token; what a routed layer leaves out, its slots cannot see.
        """
        trunk = self._policy.trunk
        modules = []
        for index, keep in enumerate(trunk.keep):
            attention = trunk.layers.get_submodule(str(index)).get_submodule("attention")
            assert isinstance(attention, Attention)
            if keep == trunk.vision:
                modules.append(attention)
        with recorded_weights(modules) as weights:
            self.actions(self.tokens(batch))
        # each [B, H, Q, N + 2 + K]; the slots are the last queries, the vision tokens come first
        slots = [weights[module][:, :, -trunk.slots :, : trunk.vision] for module in modules]
        given = torch.stack([share.mean(dim=(1, 2)) for share in slots]).mean(dim=0)
        return {"cross_attention": as_distribution(given)}

    def image_keys(self) -> tuple[str, ...]:
        return self._policy.embodiment.image_keys

    @torch.no_grad()
    def in_cameras(self, batch: dict[str, Tensor], maps: Tensor) -> Tensor | None:
        return self._policy.over_patches(batch, maps)

    def waypoints(self, state: TokenState) -> Tensor | None:
        return None
