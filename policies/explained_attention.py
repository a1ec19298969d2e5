"""A policy's control-aided attention as explanations see it: differentiable, its target exact."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from helmsight.policies.explainable import (
    TokenFunction,
    as_distribution,
    jacobian_power,
    removal_power,
)
from helmsight.policies.modules.control_aided import (
    ControlAidedAttentionConfig,
    TokenAttention,
    build_attention,
)


class ExplainedAttention:
    """A copy of a trained attention whose gate passes gradients.

    In training the task's gradient may be kept from the attention; what the actions depend on does
    include how the attention follows its tokens.
    """

    def __init__(
        self,
        trained: TokenAttention,
        config: ControlAidedAttentionConfig,
        width: int,
        tokens: int,
        device: torch.device,
    ) -> None:
        self._config = config
        copy: Any = build_attention(dataclasses.replace(config, detached=False), width, tokens)
        copy.load_state_dict(trained.state_dict())  # type: ignore[attr-defined]
        self.gate: Any = copy.to(device).eval()

    @torch.no_grad()
    def map(self, tokens: Tensor) -> Tensor | None:
        """The attention [B, N] of tokens [B, N, D]; None for a policy without any."""
        if self._config.signal == "none":
            return None
        attention: Tensor = self.gate(tokens).attention
        return attention

    @torch.no_grad()
    def even(self, tokens: Tensor) -> Tensor | None:
        """Tokens [B, N, D] gated by an attention that is the same for all of a moment's tokens.

        None for a policy without attention.
        """
        if self._config.signal == "none":
            return None
        evened: Tensor = self.gate.even(tokens)
        return evened

    def target(self, tokens: Tensor, ungated: TokenFunction) -> Tensor | None:
        """What it was trained towards, [B, N], in the mean over probes and so without their noise.

        ungated: gated tokens [B, N, D] -> outputs [B, A]. None for no signal, or one that needs
        the recorded action.
        """

        def gated(given: Tensor) -> Tensor:
            return ungated(self.gate(given).tokens)

        def summed(given: Tensor) -> Tensor:
            return ungated(given).sum(dim=1, keepdim=True)

        if self._config.signal == "removal":
            power = removal_power(gated, tokens, self.gate.usual)
        elif self._config.signal == "jacobian":
            power = jacobian_power(ungated, tokens)
        elif self._config.signal == "expected_action":
            power = jacobian_power(summed, tokens)
        else:
            return None
        return as_distribution(as_distribution(power).pow(self._config.sharpness))
