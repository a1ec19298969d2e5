"""Control-aided attention: attention over tokens, trained by what the controls depend on.

After CAA-Policy (arXiv 2509.11090). An attention network reads the tokens F [B, N, D] and gates
them; its target comes from the gradient of the controls with respect to F, decoded once from the
ungated tokens. At inference no gradient is needed.

Signals (all from one backward pass through the action heads, for the whole batch at once):

    removal          p_n ~ (v^T J_n (F_n - U_n))^2 for v ~ N(0, I) over the action outputs, J taken
                     through the gate, U_n the usual (mean) token of the place. Its mean over v is
                     ||J_n (F_n - U_n)||^2: to first order, how far the actions move when the token
                     is replaced by the usual one.
    jacobian         p_n ~ ||J_n^T v||^2 for v ~ N(0, I) over the action outputs. Its mean over v
                     is ||J_n||_F^2, the first-order variance of the actions under noise on token n.
    expected_action  p_n ~ ||d(sum of actions)/dF_n||^2
    task_loss        p_n ~ ||d(imitation loss)/dF_n||^2
    mean_logit       as released, faults and all, for comparison: the raw signed gradient of the
                     mean logit, matched elementwise by a mean squared error; gates with A * F.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

SIGNALS = ("none", "mean_logit", "task_loss", "expected_action", "jacobian", "removal")
# Share of a batch's mean in the usual tokens, which follow the training slowly.
USUAL_TOKEN_SHARE = 0.02


@dataclass(frozen=True)
class ControlAidedAttentionConfig:
    """signal: one of `SIGNALS`. detached: the task's gradient does not reach the attention.

    residual: F + gate * F instead of gate * F. sharpness: exponent on the per-token sensitivity
    before it is normalised to a distribution (1: proportional to the variance).
    """

    signal: str = "removal"
    detached: bool = True
    residual: bool = False
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        if self.signal not in SIGNALS:
            raise ValueError(
                f"unknown attention signal {self.signal!r}; the signals are {', '.join(SIGNALS)}"
            )
        if not self.sharpness > 0.0:
            raise ValueError(f"attention sharpness must be above 0, got {self.sharpness}")


class ActionOutputs(NamedTuple):
    """What the action heads say of some tokens.

    actions: continuous expected actions [B, A]. logits: whatever the heads put out before any
    softmax, [B, ...]. loss: the imitation loss of each sample [B].
    """

    actions: Tensor
    logits: Tensor
    loss: Tensor


Decode = Callable[[Tensor], ActionOutputs]


class Gated(NamedTuple):
    """Refined tokens [B, N, D], the attention as a distribution [B, N], and the raw output."""

    tokens: Tensor
    attention: Tensor
    raw: Tensor


class TokenAttention(Protocol):
    """The one interface that a policy uses, whatever the signal."""

    def __call__(self, tokens: Tensor) -> Gated:
        """Gate tokens [B, N, D]."""

    def target(
        self, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
    ) -> Tensor:
        """What the attention should be, by the gradient of the controls at `tokens`."""

    def loss(self, gated: Gated, target: Tensor) -> Tensor:
        """Scalar: distance of the attention from its target."""


def build_attention(config: ControlAidedAttentionConfig, width: int, tokens: int) -> TokenAttention:
    """The attention module (an `nn.Module`) that the configuration asks for, for N tokens."""
    if config.signal == "none":
        return NoAttention()
    if config.signal == "mean_logit":
        return ReleasedAttention(config, width)
    if config.signal == "removal":
        return RemovalAttention(config, width, tokens)
    return ControlAidedAttention(config, width)


def token_gradient(scalar: Tensor, tokens: Tensor) -> Tensor:
    """d scalar / d tokens [B, N, D], leaving every parameter's gradient as it is."""
    (gradient,) = torch.autograd.grad(scalar, tokens)
    return gradient


def signal_gradient(
    signal: str, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
) -> Tensor:
    """Gradient [B, N, D] of the chosen signal at the tokens, by one backward pass.

    Samples do not mix in the heads, so the gradient of a sum over the batch holds each sample's
    own gradient: no pass per sample is needed.
    """
    with torch.enable_grad():
        leaf = tokens.detach().requires_grad_(True)
        outputs = decode(leaf)
        if signal in ("jacobian", "removal"):
            probe = torch.randn(
                outputs.actions.shape, generator=generator, device=outputs.actions.device
            )
            return token_gradient((outputs.actions * probe).sum(), leaf)
        if signal == "expected_action":
            return token_gradient(outputs.actions.sum(), leaf)
        if signal == "task_loss":
            return token_gradient(outputs.loss.sum(), leaf)
        if signal == "mean_logit":
            return token_gradient(outputs.logits.flatten(1).mean(dim=1).sum(), leaf)
    raise ValueError(f"signal {signal!r} has no gradient; expected one of {', '.join(SIGNALS[1:])}")


def sensitivity_distribution(gradient: Tensor, sharpness: float = 1.0) -> Tensor:
    """Distribution [B, N] over tokens, of gradients [B, N, D]: ~ ||gradient_n||^(2 * sharpness).

    Normalising makes the target independent of the gradient's scale, whose smallness left the
    released squared-error target without effect. No gradient at all gives the uniform one.
    """
    largest = gradient.abs().amax(dim=(1, 2), keepdim=True)
    # Scaled before it is squared: the square of a small gradient is no float any more.
    scaled = torch.where(largest > 0.0, gradient / largest, 1.0)
    power = scaled.square().sum(dim=2)  # [B, N, D] -> [B, N]
    relative = (power / power.amax(dim=1, keepdim=True)).pow(sharpness)
    return relative / relative.sum(dim=1, keepdim=True)


class NoAttention(nn.Module):
    """Leaves the tokens as they are; its attention is uniform and costs nothing to train."""

    def forward(self, tokens: Tensor) -> Gated:
        uniform = tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])
        return Gated(tokens, uniform, uniform)

    def target(
        self, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
    ) -> Tensor:
        return tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])

    def loss(self, gated: Gated, target: Tensor) -> Tensor:
        return gated.tokens.new_zeros(())


class ControlAidedAttention(nn.Module):
    """Attention as a distribution over tokens, trained towards a sensitivity distribution.

    alpha = softmax(w^T relu(W F_n)) [B, N]. Gate: g_n = 2 N alpha_n / (1 + N alpha_n), which is 1
    for uniform attention, 0 for a token without any, and never above 2, so that a peaked map
    cannot blow the features up. Loss: KL(target || alpha).
    """

    def __init__(self, config: ControlAidedAttentionConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.score = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, tokens: Tensor) -> Gated:
        scores = self._scores(tokens)
        attention = scores.softmax(dim=1)
        gate = self._gate(attention)
        return Gated(
            self._refined(tokens, gate.detach() if self.config.detached else gate),
            attention,
            scores,
        )

    def even(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] as an attention that is the same for all of them would leave them."""
        return self._refined(tokens, tokens.new_ones(tokens.shape[:2]))

    def _scores(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.score(tokens)
        return scores.squeeze(2)  # [B, N, 1] -> [B, N]

    @staticmethod
    def _gate(attention: Tensor) -> Tensor:
        """Factor [B, N] of each token."""
        relative = attention * attention.shape[1]
        return 2.0 * relative / (1.0 + relative)

    def _refined(self, tokens: Tensor, gate: Tensor) -> Tensor:
        refined = tokens * gate.unsqueeze(2)  # [B, N, D] * [B, N, 1]
        return tokens + refined if self.config.residual else refined

    def target(
        self, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
    ) -> Tensor:
        gradient = signal_gradient(self.config.signal, tokens, decode, generator)
        return sensitivity_distribution(gradient, self.config.sharpness)

    def loss(self, gated: Gated, target: Tensor) -> Tensor:
        log_attention = functional.log_softmax(gated.raw, dim=1)
        return functional.kl_div(log_attention, target, reduction="batchmean")


class RemovalAttention(ControlAidedAttention):
    """Attention that learns how far the actions move when a token is taken away.

    A token counts by its gradient times what is unusual about it (one step of integrated gradients,
    Sundararajan et al. 2017, of a random projection of the actions), so that a token on which the
    actions depend steeply but which says nothing new is given none. The gate's own dependence on
    the token counts too: the target is about the actions as they are carried out.
    """

    usual: Tensor
    batches: Tensor

    def __init__(self, config: ControlAidedAttentionConfig, width: int, tokens: int) -> None:
        super().__init__(config, width)
        self.register_buffer("usual", torch.zeros(tokens, width))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def target(
        self, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
    ) -> Tensor:
        if self.training:
            self._follow(tokens.detach())

        def decode_gated(leaf: Tensor) -> ActionOutputs:
            attention = self._scores(leaf).softmax(dim=1)
            return decode(self._refined(leaf, self._gate(attention)))

        gradient = signal_gradient("removal", tokens, decode_gated, generator)
        # [B, N, D] -> [B, N, 1]: the projected contribution of each token
        contribution = (gradient * (tokens.detach() - self.usual)).sum(dim=2, keepdim=True)
        return sensitivity_distribution(contribution, self.config.sharpness)

    @torch.no_grad()
    def _follow(self, tokens: Tensor) -> None:
        """Draw the usual tokens to a batch's mean; the first batches count in full."""
        self.batches += 1
        share = max(USUAL_TOKEN_SHARE, 1.0 / float(self.batches))
        # Under autocast the tokens may have fewer bits than the mean that they are added to.
        self.usual.lerp_(tokens.mean(dim=0, dtype=self.usual.dtype), share)


class ReleasedAttention(nn.Module):
    """The published recipe as its code has it: A(F) per channel, ||A - G||^2, F~ = A * F."""

    def __init__(self, config: ControlAidedAttentionConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Gated:
        raw = self._gate(tokens)
        refined = self._refined(tokens, raw.detach() if self.config.detached else raw)
        strength = raw.square().sum(dim=2)
        return Gated(refined, strength / strength.sum(dim=1, keepdim=True).clamp(min=1e-38), raw)

    def even(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D], all of a moment scaled by the mean of its gates."""
        return self._refined(tokens, self._gate(tokens).mean(dim=1, keepdim=True))

    def _gate(self, tokens: Tensor) -> Tensor:
        """A(F), the signed factor [B, N, D] of every channel."""
        hidden = self.norm(self.first(tokens).transpose(1, 2)).transpose(1, 2)  # norm over [B, N]
        gate: Tensor = self.second(torch.relu(hidden))
        return gate

    def _refined(self, tokens: Tensor, gate: Tensor) -> Tensor:
        return tokens + tokens * gate if self.config.residual else tokens * gate

    def target(
        self, tokens: Tensor, decode: Decode, generator: torch.Generator | None = None
    ) -> Tensor:
        return signal_gradient(self.config.signal, tokens, decode, generator)

    def loss(self, gated: Gated, target: Tensor) -> Tensor:
        return functional.mse_loss(gated.raw, target)
