"""The parking policy as explanations see it; implements `policies.explainable.Explainable`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from helmsight.policies.explainable import NothingToExplainError, TokenState, as_distribution
from helmsight.policies.explained_attention import ExplainedAttention
from helmsight.policies.modules.birds_eye import Grid, grid_in_camera
from helmsight.policies.modules.transformer import DecoderBlock, EncoderBlock, recorded_weights
from helmsight.policies.parking.policy import ParkingPolicy


class ParkingExplanation:
    """See `Explainable`. Raises NothingToExplainError for a policy that sees nothing."""

    def __init__(self, policy: ParkingPolicy) -> None:
        if policy.view is None:
            raise NothingToExplainError(
                "there is nothing to explain: this policy reads no tokens (sees=nothing); "
                "give a policy that sees cameras or the label"
            )
        self._policy = policy
        self._view = policy.view
        self._attention = ExplainedAttention(
            policy.attention,
            policy.config.attention,
            policy.config.width,
            self.token_grid.size**2,
            next(policy.parameters()).device,
        )
        self._gate = self._attention.gate

    @property
    def token_grid(self) -> Grid:
        grid = self._policy.config.grid
        return Grid(grid.size // 2, grid.extent)

    @property
    def action_names(self) -> tuple[str, ...]:
        names = self._policy.embodiment.action.names
        return ("target_speed", *names[1:]) if self._policy.config.head == "target_speed" else names

    def observation_keys(self) -> list[str]:
        return self._policy.observation_keys()

    def tokens(self, batch: dict[str, Tensor]) -> TokenState:
        tokens, context, _ = self._policy._tokens(batch)
        return TokenState(tokens, context)

    def actions(self, state: TokenState) -> Tensor:
        return self._heads(self._gate(state.tokens).tokens, state.context)

    def even_actions(self, state: TokenState) -> Tensor | None:
        evened = self._attention.even(state.tokens)
        return None if evened is None else self._heads(evened, state.context)

    def _heads(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Normalised outputs [B, A] of the driving head for gated tokens."""
        policy = self._policy
        if policy.token_head is not None:
            context = policy._with_summary(tokens, context)
            with torch.no_grad():
                chosen = policy.token_head.to_tokens(policy.token_head.decode(tokens, context))
            return policy.token_head.expected(policy.token_head(tokens, context, chosen))
        decoded = policy._decode(tokens, context)
        if policy.config.head == "target_speed":
            return decoded.speed
        return decoded.chunk.flatten(1)  # [B, K, A] -> [B, K * A]

    def attention(self, tokens: Tensor) -> Tensor | None:
        return self._attention.map(tokens)

    def attention_target(self, state: TokenState) -> Tensor | None:
        return self._attention.target(
            state.tokens, lambda tokens: self._heads(tokens, state.context)
        )

    @torch.no_grad()
    def raw_attention(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`self_attention` of the fusion: what each cell's token receives, all queries alike.

        `cross_attention` of the driving head: what its queries give to each token. Both are means
        over heads and layers.
        """
        fusion = [block.attention for block in self._fusion_blocks()]
        heads = [block.cross_attention for block in self._decoder_blocks()]
        with recorded_weights([*fusion, *heads]) as weights:
            state = self.tokens(batch)
            self.actions(state)
        count = state.tokens.shape[1]
        found = {}
        if fusion:
            # each [B, H, N + T, N + T]; the state's own tokens are left out of what is received
            received = torch.stack([weights[module].mean(dim=(1, 2)) for module in fusion])
            found["self_attention"] = as_distribution(received.mean(dim=0)[:, :count])
        given = torch.stack([weights[module].mean(dim=1) for module in heads]).mean(dim=0)
        found["cross_attention"] = as_distribution(given[:, self._driving_slots()].mean(dim=1))
        return found

    def _fusion_blocks(self) -> Iterator[EncoderBlock]:
        for block in self._view.birds_eye.fusion:
            assert isinstance(block, EncoderBlock)
            yield block

    def _decoder_blocks(self) -> Iterator[DecoderBlock]:
        policy = self._policy
        head: nn.Module = policy.decoder if policy.token_head is None else policy.token_head
        for block in head.get_submodule("blocks").children():
            assert isinstance(block, DecoderBlock)
            yield block

    def _driving_slots(self) -> slice:
        """The queries of the head that drives."""
        config = self._policy.config
        if config.head == "control_tokens":
            return slice(None)
        if config.head == "target_speed":
            return slice(config.chunk, config.chunk + 1)
        return slice(0, config.chunk)

    def image_keys(self) -> tuple[str, ...]:
        return self._policy.embodiment.image_keys if self._policy.config.sees == "cameras" else ()

    @torch.no_grad()
    def in_cameras(self, batch: dict[str, Tensor], maps: Tensor) -> Tensor | None:
        _, _, seen = self._policy._tokens(batch)
        if seen is None or seen.depth_logits is None:
            return None
        grid, cameras = self.token_grid, self._policy.embodiment.cameras
        centers = self._policy.config.depth.centers()
        metres = centers[seen.depth_logits.argmax(dim=2).cpu()]  # [B, C, h, w]
        squares = maps.cpu().unflatten(2, (grid.size, grid.size))  # [B, M, N] -> [B, M, G, G]
        return torch.stack(
            [
                torch.stack(
                    [
                        torch.stack(
                            [grid_in_camera(camera, one, depth, grid.extent) for one in frame]
                        )
                        for camera, depth in zip(cameras, depths, strict=True)
                    ]
                )
                for frame, depths in zip(squares, metres, strict=True)
            ]
        )

    @torch.no_grad()
    def waypoints(self, state: TokenState) -> Tensor | None:
        decoded = self._policy._decode(self._gate(state.tokens).tokens, state.context)
        x, y, cos, sin = decoded.waypoints.unbind(dim=2)
        return torch.stack([5.0 * x, 5.0 * y, torch.atan2(sin, cos)], dim=2)
