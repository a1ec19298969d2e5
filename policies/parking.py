"""The parking policy: surround cameras, ego state and target pose in, a chunk of actions out.

    cameras -> encoder -> depth -> bird's eye -> fusion -> control-aided attention -> heads

`use_cameras=False` is the same policy without its eyes: state and target alone. It is the yardstick
that every camera policy must beat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import Policy, Statistics, register
from helmsight.policies.modules.action_heads import ControlTokenHead, ParallelDecoder
from helmsight.policies.modules.birds_eye import (
    DepthBins,
    DepthWeightedSampling,
    Grid,
    LiftSplat,
    grid_in_camera,
)
from helmsight.policies.modules.control_aided import (
    ActionOutputs,
    ControlAidedAttentionConfig,
    Gated,
    build_attention,
)
from helmsight.policies.modules.image_encoder import ImageEncoder, ResidualBlock
from helmsight.policies.modules.normaliser import RangeScaler, Standardiser
from helmsight.policies.modules.speed_controller import SpeedController
from helmsight.policies.modules.transformer import EncoderBlock, fixed_positions

HEADS = ("action_chunk", "target_speed", "control_tokens")
BIRDS_EYES = ("sampling", "lift_splat")
# Frames (0.1 s) ahead: the speed that the target-speed head predicts, and the waypoints (0.1, 1.1,
# 2.1, 3.1 s, as published).
SPEED_OFFSET = 3
WAYPOINT_OFFSETS = (1, 11, 21, 31)
SEMANTIC_CLASSES = 3
SEMANTIC_SIZE = 64
TARGET_ENTRIES = ("target_x", "target_y", "target_yaw")


@dataclass(frozen=True)
class ParkingLossWeights:
    """Weight of each part of the loss."""

    action: float = 1.0
    target_speed: float = 1.0
    waypoints: float = 0.5
    semantics: float = 1.0
    depth: float = 0.25
    attention: float = 0.1


@dataclass(frozen=True)
class ParkingPolicyConfig:
    """Everything that a parking policy's shape and training depend on.

    head: which head drives ("action_chunk" and "target_speed" are trained together in any case).
    state_inputs: sensors that the policy reads beside the target pose. Accelerations are left out
    by default: they tell the previous command, and a clone that can copy it never starts.
    body_front, body_rear, body_width: the parked car's outline about its rear axle in metres.
    """

    use_cameras: bool = True
    head: str = "action_chunk"
    birds_eye: str = "sampling"
    chunk: int = 4
    steps_per_decision: int = 1
    width: int = 64
    attention_heads: int = 2
    image_channels: int = 48
    image_blocks: int = 2
    fusion_layers: int = 1
    decoder_layers: int = 2
    state_inputs: tuple[str, ...] = ("speed", "steering_angle")
    body_front: float = 3.75
    body_rear: float = 0.95
    body_width: float = 1.95
    depth: DepthBins = field(default_factory=DepthBins)
    grid: Grid = field(default_factory=Grid)
    attention: ControlAidedAttentionConfig = field(default_factory=ControlAidedAttentionConfig)
    speed_controller: SpeedController = field(default_factory=SpeedController)
    loss: ParkingLossWeights = field(default_factory=ParkingLossWeights)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("head", self.head, HEADS),
            ("birds_eye", self.birds_eye, BIRDS_EYES),
        ):
            if value not in allowed:
                raise ValueError(f"unknown {name} {value!r}; expected one of {', '.join(allowed)}")
        if not 1 <= self.steps_per_decision <= self.chunk:
            raise ValueError(
                f"steps_per_decision must be 1 to chunk ({self.chunk}), "
                f"got {self.steps_per_decision}"
            )
        if self.grid.size % 2 or SEMANTIC_SIZE * 2 % self.grid.size:
            raise ValueError(
                f"grid.size must be even and divide {SEMANTIC_SIZE * 2}, got {self.grid.size}"
            )


class Seen(NamedTuple):
    """What the cameras gave: fused tokens [B, N, D], the grid before fusion, depth logits."""

    tokens: Tensor
    grid: Tensor
    depth_logits: Tensor


class Decoded(NamedTuple):
    """What the heads put out for some tokens, normalised.

    chunk [B, K, A] in [-1, 1]; speed [B, 3]: signed speed in units of 2 m/s, steer, reverse;
    waypoints [B, W, 4]: x, y in units of 5 m, cosine and sine of the yaw change.
    """

    chunk: Tensor
    speed: Tensor
    waypoints: Tensor


class SurroundView(nn.Module):
    """Cameras, target and state to fused bird's-eye tokens."""

    def __init__(self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec) -> None:
        super().__init__()
        channels, width = config.image_channels, config.width
        self.config = config
        self.cameras = embodiment.cameras
        self.encoder = ImageEncoder(channels, config.image_blocks)
        self.depth_head = nn.Conv2d(channels, config.depth.count, 1)
        self.feature_head = nn.Conv2d(channels, channels // 2, 1)
        lifted = channels // 2
        self.to_grid: nn.Module
        if config.birds_eye == "sampling":
            self.to_grid = DepthWeightedSampling(self.cameras, lifted, config.depth, config.grid)
        else:
            self.to_grid = LiftSplat(self.cameras, lifted, config.depth, config.grid)
        grid_channels = self.to_grid.out_channels
        assert isinstance(grid_channels, int)
        self.grid_encoder = nn.Sequential(
            nn.Conv2d(grid_channels + 3, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.GroupNorm(1, width),
            nn.ReLU(),
            ResidualBlock(width),
            ResidualBlock(width),
        )
        self.grid_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.token_size = config.grid.size // 2
        self.positions: Tensor
        self.register_buffer(
            "positions", fixed_positions(self.token_size, self.token_size, width), persistent=False
        )
        self.cells: Tensor
        self.register_buffer(
            "cells", torch.tensor(config.grid.centers(), dtype=torch.float32), persistent=False
        )
        self.fusion = nn.ModuleList(
            EncoderBlock(width, config.attention_heads) for _ in range(config.fusion_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor, target: Tensor, state_tokens: Tensor) -> Seen:
        """images [B, C, H, W, 3] uint8, target [B, 3], state tokens [B, T, D]."""
        batch, cameras = images.shape[:2]
        features = self.encoder(images.flatten(0, 1))  # [B * C, F, h, w]
        depth_logits = self.depth_head(features).unflatten(0, (batch, cameras))  # [B, C, D, h, w]
        lifted = self.feature_head(features).unflatten(0, (batch, cameras))  # [B, C, F / 2, h, w]
        grid = self.to_grid(lifted, depth_logits.softmax(dim=2))  # [B, G_c, G, G]
        grid = torch.cat([grid, self._target_channels(target)], dim=1)
        grid = self.grid_encoder(grid.contiguous(memory_format=torch.channels_last))
        tokens = grid.flatten(2).transpose(1, 2)  # [B, D, G/2, G/2] -> [B, N, D]
        tokens = torch.cat([tokens + self.positions, state_tokens], dim=1)  # [B, N + T, D]
        for block in self.fusion:
            tokens = block(tokens)
        tokens = self.norm(tokens[:, : self.token_size**2])
        return Seen(tokens, grid, depth_logits)

    def _target_channels(self, target: Tensor) -> Tensor:
        """Where each cell lies in the target's frame, and a soft outline of the parked car.

        [B, 3] -> [B, 3, G, G]
        """
        cos, sin = target[:, 2:].cos(), target[:, 2:].sin()  # [B, 1]
        dx = self.cells[:, 0] - target[:, :1]  # [G * G] - [B, 1] -> [B, G * G]
        dy = self.cells[:, 1] - target[:, 1:2]
        along, across = cos * dx + sin * dy, cos * dy - sin * dx
        config = self.config
        middle = (config.body_front - config.body_rear) / 2.0
        half_length = (config.body_front + config.body_rear) / 2.0
        inside = torch.sigmoid(4.0 * (half_length - (along - middle).abs())) * torch.sigmoid(
            4.0 * (config.body_width / 2.0 - across.abs())
        )
        channels = torch.stack([torch.tanh(along / 5.0), torch.tanh(across / 5.0), inside], dim=1)
        return channels.unflatten(2, (config.grid.size, config.grid.size))


@register("parking")
class ParkingPolicy(Policy):
    """See the module's docstring; `config` says which parts are on."""

    config_class = ParkingPolicyConfig
    config: ParkingPolicyConfig

    def __init__(
        self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec, statistics: Statistics
    ) -> None:
        super().__init__(config, embodiment, statistics)
        width, entries = config.width, embodiment.action.size
        if config.use_cameras and not embodiment.cameras:
            raise ValueError(
                "a parking policy with cameras needs an embodiment that has some; "
                "this data set was recorded without (use policy=state)"
            )
        self._sensors = [embodiment.state.index(name) for name in config.state_inputs]
        self._target = [embodiment.state.index(name) for name in TARGET_ENTRIES]
        self._speed = embodiment.state.index("speed")
        state = statistics["observation.state"]
        self.standardise = Standardiser(
            [state["mean"][index] for index in self._sensors],
            [state["std"][index] for index in self._sensors],
        )
        self.action_range = RangeScaler(embodiment.action)
        inputs = len(self._sensors) + 8
        self.state_encoder = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, width)
        )
        # Two tokens: the ego car and the target, each with its own reading of the state.
        self.state_tokens = nn.Linear(width, 2 * width)
        self.view = SurroundView(config, embodiment) if config.use_cameras else None
        signal = config.attention if config.use_cameras else ControlAidedAttentionConfig("none")
        self.attention = build_attention(signal, width)
        self.attention_signal = signal.signal
        slots = config.chunk + 1 + len(WAYPOINT_OFFSETS)
        self.decoder = ParallelDecoder(width, config.attention_heads, config.decoder_layers, slots)
        self.chunk_read_out = FeedForwardReadOut(width, entries)
        self.speed_read_out = FeedForwardReadOut(width, 3)
        self.waypoint_read_out = FeedForwardReadOut(width, 4)
        self.token_head = (
            ControlTokenHead(
                width, config.attention_heads, config.decoder_layers, config.chunk, entries
            )
            if config.head == "control_tokens"
            else None
        )
        semantic_channels = SEMANTIC_CLASSES * (SEMANTIC_SIZE * 2 // config.grid.size) ** 2
        self.semantic_head = nn.Conv2d(width, semantic_channels, 1) if config.use_cameras else None
        self._last: dict[str, Tensor] = {}

    # What it wants to be fed

    def observation_keys(self) -> list[str]:
        images = list(self.embodiment.image_keys) if self.config.use_cameras else []
        return [*images, "observation.state"]

    def input_keys(self) -> list[str]:
        labels = ["action", "simulator.state"]
        if self.config.use_cameras:
            labels += [*self.embodiment.depth_keys, "observation.birds_eye"]
        return [*self.observation_keys(), *labels]

    def window_offsets(self) -> dict[str, list[int]]:
        return {
            "action": list(range(self.config.chunk)),
            "simulator.state": [0, SPEED_OFFSET, *WAYPOINT_OFFSETS],
        }

    @property
    def steps_per_decision(self) -> int:
        return 1 if self.config.head == "target_speed" else self.config.steps_per_decision

    # Observation to tokens

    def _state(self, state: Tensor) -> Tensor:
        """Network inputs [B, S] of states [B, 8]: sensors, and the target near and far."""
        x, y, yaw = state[:, self._target].unbind(dim=1)
        target = torch.stack(
            [
                x / 10.0,
                y / 10.0,
                yaw.cos(),
                yaw.sin(),
                # The last metre and the last degrees decide; give them a scale of their own.
                torch.tanh(x),
                torch.tanh(y),
                torch.tanh(yaw / 0.3),
                torch.tanh(torch.hypot(x, y) / 3.0),
            ],
            dim=1,
        )
        return torch.cat([self.standardise(state[:, self._sensors]), target], dim=1)

    def _tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Seen | None]:
        """Tokens [B, N, D] before attention, state context [B, D], and what the cameras gave."""
        state = batch["observation.state"]
        context = self.state_encoder(self._state(state))
        state_tokens = self.state_tokens(context).unflatten(1, (2, -1))  # [B, 2 D] -> [B, 2, D]
        if self.view is None:
            return state_tokens, context, None
        images = torch.stack([batch[key] for key in self.embodiment.image_keys], dim=1)
        seen = self.view(images, state[:, self._target], state_tokens)
        return seen.tokens, context, seen

    def _decode(self, tokens: Tensor, context: Tensor) -> Decoded:
        slots = self.decoder(tokens, context)  # [B, K + 1 + W, D]
        chunk = self.config.chunk
        return Decoded(
            self.chunk_read_out(slots[:, :chunk]),
            self.speed_read_out(slots[:, chunk]),
            self.waypoint_read_out(slots[:, chunk + 1 :]),
        )

    # Training

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        labels = self.labels(batch)
        tokens, context, seen = self._tokens(batch)
        gated: Gated = self.attention(tokens)
        decoded = self._decode(gated.tokens, context)
        weights = self.config.loss
        parts = {
            "action": self._action_loss(gated.tokens, context, decoded, labels).mean(),
            "target_speed": (decoded.speed - labels["speed"]).abs().mean(),
            "waypoints": (decoded.waypoints - labels["waypoints"]).abs().mean(),
        }
        if self.attention_signal != "none":

            def decode(leaf: Tensor) -> ActionOutputs:
                return self._action_outputs(leaf, context.detach(), labels)

            target = self.attention.target(tokens, decode)
            parts["attention"] = self.attention.loss(gated, target)
        if seen is not None:
            parts["semantics"] = self._semantic_loss(seen, batch["observation.birds_eye"])
            parts["depth"] = self._depth_loss(seen, batch)
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        return total, parts

    def labels(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Normalised targets of the heads, from recorded actions and the recorded path."""
        states = batch["simulator.state"]  # [B, 2 + W, 5]: now, speed ahead, waypoints
        actions = self.action_range(batch["action"])  # [B, K, A]
        now, future = states[:, :1], states[:, 2:]
        cos, sin = now[..., 2].cos(), now[..., 2].sin()  # [B, 1]
        dx, dy = future[..., 0] - now[..., 0], future[..., 1] - now[..., 1]  # [B, W]
        turned = future[..., 2] - now[..., 2]
        waypoints = torch.stack(
            [
                (cos * dx + sin * dy) / 5.0,
                (cos * dy - sin * dx) / 5.0,
                turned.cos(),
                turned.sin(),
            ],
            dim=2,
        )
        speed = torch.stack([states[:, 1, 3] / 2.0, actions[:, 0, 1], actions[:, 0, 2]], dim=1)
        return {
            "action": actions,
            "valid": (~batch["action_is_pad"]).float(),
            "speed": speed,
            "waypoints": waypoints,
        }

    def _action_loss(
        self, tokens: Tensor, context: Tensor, decoded: Decoded, labels: dict[str, Tensor]
    ) -> Tensor:
        """Imitation loss [B] of the head that drives: L1 on the chunk, or token cross-entropy."""
        if self.token_head is None:
            error = (decoded.chunk - labels["action"]).abs().mean(dim=2)  # [B, K]
            return self._mean_over_steps(error, labels["valid"])
        targets = self.token_head.to_tokens(labels["action"])
        return self._token_loss(self.token_head(tokens, context, targets), targets, labels)

    def _token_loss(self, logits: Tensor, targets: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """Cross-entropy [B] of control tokens."""
        assert self.token_head is not None
        error = self.token_head.loss(logits, targets)
        error = error.unflatten(1, (self.config.chunk, -1)).mean(dim=2)  # [B, K * A] -> [B, K]
        return self._mean_over_steps(error, labels["valid"])

    @staticmethod
    def _mean_over_steps(error: Tensor, valid: Tensor) -> Tensor:
        """[B, K] -> [B], over the steps that were recorded."""
        return (error * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1.0)

    def _action_outputs(
        self, tokens: Tensor, context: Tensor, labels: dict[str, Tensor]
    ) -> ActionOutputs:
        """The driving head's continuous actions, raw outputs and loss, for attention's target."""
        if self.token_head is not None:
            targets = self.token_head.to_tokens(labels["action"])
            logits = self.token_head(tokens, context, targets)
            loss = self._token_loss(logits, targets, labels)
            return ActionOutputs(self.token_head.expected(logits), logits, loss)
        decoded = self._decode(tokens, context)
        if self.config.head == "target_speed":
            loss = (decoded.speed - labels["speed"]).abs().mean(dim=1)
            return ActionOutputs(decoded.speed, decoded.speed, loss)
        loss = self._action_loss(tokens, context, decoded, labels)
        return ActionOutputs(decoded.chunk.flatten(1), decoded.chunk, loss)

    def _semantics(self, grid: Tensor) -> Tensor:
        """Class logits [B, 3, 64, 64] of the bird's eye from the grid [B, D, G/2, G/2]."""
        assert self.semantic_head is not None
        factor = SEMANTIC_SIZE * 2 // self.config.grid.size
        return functional.pixel_shuffle(self.semantic_head(grid), factor)

    def _semantic_loss(self, seen: Seen, label: Tensor) -> Tensor:
        """Cross-entropy with the published class weights 1, 2, 2; label [B, 200, 200]."""
        weight = seen.grid.new_tensor([1.0, 2.0, 2.0])
        logits = self._semantics(seen.grid)
        return functional.cross_entropy(logits, coarse_label(label), weight=weight)

    def _depth_loss(self, seen: Seen, batch: dict[str, Tensor]) -> Tensor:
        depth = torch.stack([batch[key] for key in self.embodiment.depth_keys], dim=1)
        bins = self.config.depth.index(depth.float() / 1000.0)  # [B, C, h, w]
        # [B, C, D, h, w] -> [B * C, D, h, w]
        logits, bins = seen.depth_logits.flatten(0, 1), bins.flatten(0, 1)
        if logits.shape[2:] != bins.shape[1:]:  # labels have 16 x 16 cells for any image size
            logits = functional.adaptive_avg_pool2d(logits, (bins.shape[1], bins.shape[2]))
        known = (bins >= 0).sum().clamp(min=1)
        return functional.cross_entropy(logits, bins, ignore_index=-1, reduction="sum") / known

    # Control

    @torch.no_grad()
    def predict_action_chunk(self, observation: dict[str, Tensor]) -> Tensor:
        tokens, context, seen = self._tokens(observation)
        gated: Gated = self.attention(tokens)
        decoded = self._decode(gated.tokens, context)
        self._remember(gated, decoded, seen)
        if self.token_head is not None:
            return self.action_range.inverse(self.token_head.decode(gated.tokens, context))
        if self.config.head == "target_speed":
            action = self.config.speed_controller.action(
                current_speed=observation["observation.state"][:, self._speed],
                target_speed=decoded.speed[:, 0] * 2.0,
                steer=decoded.speed[:, 1],
                reverse=decoded.speed[:, 2],
            )
            return action.unsqueeze(1)  # [B, A] -> [B, 1, A]
        return self.action_range.inverse(decoded.chunk)

    def _remember(self, gated: Gated, decoded: Decoded, seen: Seen | None) -> None:
        self._last = {"waypoints": decoded.waypoints[0]}
        if seen is not None:
            self._last |= {
                "attention": gated.attention[0],
                "grid": seen.grid[:1],
                "depth": seen.depth_logits[0],
            }

    @torch.no_grad()
    def diagnostics(self) -> dict[str, NDArray[Any]]:
        if not self._last:
            return {}
        x, y, cos, sin = self._last["waypoints"].cpu().unbind(dim=1)
        found: dict[str, NDArray[Any]] = {
            "waypoints": torch.stack([5.0 * x, 5.0 * y, torch.atan2(sin, cos)], dim=1).numpy()
        }
        if "grid" not in self._last:
            return found
        found["birds_eye"] = self._semantics(self._last["grid"])[0].argmax(dim=0).byte().numpy()
        if self.attention_signal != "none":
            size = self.config.grid.size // 2
            attention = self._last["attention"].view(size, size).cpu()  # [N] -> [G/2, G/2]
            attention = attention / attention.max().clamp(min=1e-12)
            found["attention.birds_eye"] = attention.numpy()
            depth = self._last["depth"].softmax(dim=1).cpu()  # [C, D, h, w]
            for index, key in enumerate(self.embodiment.image_keys):
                metres = self.config.depth.centers()[depth[index].argmax(dim=0)]  # [h, w]
                found[f"attention.{key}"] = grid_in_camera(
                    self.embodiment.cameras[index], attention, metres, self.config.grid.extent
                ).numpy()
        return found


class FeedForwardReadOut(nn.Sequential):
    """Hidden layer and linear map from a slot to its values."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def coarse_label(label: Tensor) -> Tensor:
    """Class ids [B, 64, 64] of a label [B, S, S]: those at the middles of the coarse cells."""
    middles = (torch.arange(SEMANTIC_SIZE, device=label.device) + 0.5) / SEMANTIC_SIZE
    picks = (middles * label.shape[1]).long()
    return label[:, picks][:, :, picks].long()


def parameter_count(policy: nn.Module) -> int:
    """Trainable parameters."""
    return sum(math.prod(p.shape) for p in policy.parameters() if p.requires_grad)
