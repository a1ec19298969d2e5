"""The parking policy: surround cameras, ego state and target pose in, a chunk of actions out.

view (cameras or label) -> control-aided attention -> heads, with the state beside it
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import OTHER_LOOK, Policy, Statistics, register
from helmsight.policies.explainable import Explainable
from helmsight.policies.modules.action_heads import (
    ControlTokenHead,
    FeedForwardReadOut,
    GridSummary,
    ParallelDecoder,
)
from helmsight.policies.modules.control_aided import (
    ActionOutputs,
    ControlAidedAttentionConfig,
    Gated,
    build_attention,
)
from helmsight.policies.modules.course_guard import Situation
from helmsight.policies.modules.normaliser import RangeScaler, Standardiser
from helmsight.policies.parking.caution import Caution
from helmsight.policies.parking.config import (
    SEMANTIC_CLASSES,
    SEMANTIC_SIZE,
    SPEED_OFFSET,
    TARGET_ENTRIES,
    WAYPOINT_OFFSETS,
    ParkingPolicyConfig,
)
from helmsight.policies.parking.diagnostics import (
    Decision,
    Shown,
    decision_of,
    shown_attention,
    shown_map,
    shown_waypoints,
)
from helmsight.policies.parking.labels import ParkingLabels, make_labels, mean_over_steps
from helmsight.policies.parking.losses import (
    consistency_loss,
    depth_loss,
    grid_loss,
    semantic_loss,
)
from helmsight.policies.parking.semantics import OBSTACLE, class_probabilities
from helmsight.policies.parking.teaching import take_weights
from helmsight.policies.parking.view import FineSurroundView, LabelView, Seen, SurroundView

# The predicted waypoint that says how far the car means to go within the guard's horizon (1.1 s).
TRAVEL_WAYPOINT = 1


class Decoded(NamedTuple):
    """What the heads put out for some tokens, normalised.

    chunk [B, K, A] in [-1, 1]; speed [B, 3]: signed speed in units of 2 m/s, steer, reverse;
    waypoints [B, W, 4]: x, y in units of 5 m, cosine and sine of the yaw change.
    """

    chunk: Tensor
    speed: Tensor
    waypoints: Tensor


@register("parking")
class ParkingPolicy(Policy):
    """See the module's docstring; `config` says which parts are on."""

    config_class = ParkingPolicyConfig
    options_of_weights = ("attention_heads", "state_inputs", "steering_fades_at", "depth", "grid")
    config: ParkingPolicyConfig

    def __init__(
        self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec, statistics: Statistics
    ) -> None:
        super().__init__(config, embodiment, statistics)
        width, entries = config.width, embodiment.action.size
        if config.sees == "cameras" and not embodiment.cameras:
            raise ValueError(
                "a parking policy with cameras needs an embodiment that has some; "
                "this data set was recorded without (use policy=state)"
            )
        self._sensors = [embodiment.state.index(name) for name in config.state_inputs]
        self._target = [embodiment.state.index(name) for name in TARGET_ENTRIES]
        self._speed = embodiment.state.index("speed")
        self._steering_angle = embodiment.state.index("steering_angle")
        state = statistics["observation.state"]
        self.standardise = Standardiser(
            [state["mean"][index] for index in self._sensors],
            [state["std"][index] for index in self._sensors],
        )
        fading = [name == "steering_angle" for name in config.state_inputs]
        fades = torch.tensor(fading, dtype=torch.bool)  # also where there are none
        self._fades: Tensor
        self.register_buffer("_fades", fades, persistent=False)
        self.action_range = RangeScaler(embodiment.action)
        inputs = len(self._sensors) + 8
        self.state_encoder = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, width)
        )
        # Two tokens: the ego car and the target, each with its own reading of the state.
        self.state_tokens = nn.Linear(width, 2 * width)
        self.view: SurroundView | FineSurroundView | LabelView | None = None
        if config.sees == "cameras":
            fine = config.image_stride == 4
            self.view = (FineSurroundView if fine else SurroundView)(config, embodiment)
        elif config.sees == "label":
            self.view = LabelView(config)
        signal = config.attention if self.view else ControlAidedAttentionConfig("none")
        tokens = (config.grid.size // 2) ** 2
        self.attention = build_attention(signal, width, tokens)
        self.attention_signal = signal.signal
        self.summary = GridSummary(width, tokens) if self.view is not None else None
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
        self.semantic_head = (
            nn.Conv2d(width, semantic_channels, 1) if isinstance(self.view, SurroundView) else None
        )
        self.caution: Caution | None = None
        if config.guard.enabled and self.view is not None:
            self.caution = Caution(config, embodiment)
        self._teacher: list[ParkingPolicy] = []  # in a list: no part of what is trained and saved
        self._last: Decision | None = None

    def learn_from(self, teacher: ParkingPolicy) -> None:
        """Start with a privileged policy's weights, and learn to see what it is shown.

        All but the camera encoder (and an attention that is trained otherwise) starts where the
        teacher ended; a loss draws the grid that the cameras give to the one that the teacher
        makes of the label. Raises ValueError for a teacher that is none, or of another shape.
        """
        take_weights(self, teacher)
        self._teacher = [teacher.requires_grad_(False).eval()]

    # What it wants to be fed

    def observation_keys(self) -> list[str]:
        seen = {
            "cameras": list(self.embodiment.image_keys),
            "label": ["observation.birds_eye"],
            "nothing": [],
        }
        return [*seen[self.config.sees], "observation.state"]

    def input_keys(self) -> list[str]:
        labels = ["action", "simulator.state"]
        if self.config.sees == "cameras":
            labels += [*self.embodiment.depth_keys, "observation.birds_eye"]
        return [*self.observation_keys(), *labels]

    def window_offsets(self) -> dict[str, list[int]]:
        return {
            "action": list(range(self.config.chunk)),
            "simulator.state": [0, SPEED_OFFSET, *WAYPOINT_OFFSETS],
        }

    @property
    def wants_other_look(self) -> bool:
        return self.config.loss.consistency > 0.0 and self.config.sees == "cameras"

    @property
    def steps_per_decision(self) -> int:
        return 1 if self.config.head == "target_speed" else self.config.steps_per_decision

    # Observation to tokens

    def _state(self, state: Tensor) -> Tensor:
        """Network inputs [B, S] of states [B, 8]: sensors, and the target near and far."""
        x, y, yaw = state[:, self._target].unbind(dim=1)
        sensors = self.standardise(state[:, self._sensors])
        standing = torch.exp(-((state[:, self._speed] / self.config.steering_fades_at) ** 2))
        faded = torch.where(self._fades, standing.unsqueeze(1), 1.0)  # [S], [B, 1] -> [B, S]
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
        return torch.cat([sensors * faded, target], dim=1)

    def _tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Seen | None]:
        """Tokens [B, N, D] before attention, state context [B, D], and what the cameras gave."""
        state = batch["observation.state"]
        context = self.state_encoder(self._state(state))
        state_tokens = self.state_tokens(context).unflatten(1, (2, -1))  # [B, 2 D] -> [B, 2, D]
        if self.view is None:
            return state_tokens, context, None
        if isinstance(self.view, LabelView):
            sight = batch["observation.birds_eye"]
        else:
            sight = torch.stack([batch[key] for key in self.embodiment.image_keys], dim=1)
        seen = self.view(sight, state[:, self._target], state_tokens)
        return seen.tokens, context, seen

    def _with_summary(self, tokens: Tensor, context: Tensor) -> Tensor:
        """The state's context [B, D], with what the tokens hold all together added to it."""
        return context if self.summary is None else context + self.summary(tokens)

    def _decode(self, tokens: Tensor, context: Tensor) -> Decoded:
        # [B, K + 1 + W, D]
        slots = self.decoder(tokens, self._with_summary(tokens, context))
        chunk = self.config.chunk
        return Decoded(
            self.chunk_read_out(slots[:, :chunk]),
            self.speed_read_out(slots[:, chunk]),
            self.waypoint_read_out(slots[:, chunk + 1 :]),
        )

    def explainable(self) -> Explainable:
        from helmsight.policies.parking.explanation import ParkingExplanation

        return ParkingExplanation(self)

    # Training

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        labels = self.labels(batch)
        tokens, context, seen = self._tokens(batch)
        gated: Gated = self.attention(tokens)
        decoded = self._decode(gated.tokens, context)
        weights = self.config.loss
        parts = {
            "action": self._action_loss(gated.tokens, context, decoded, labels).mean(),
            "target_speed": (decoded.speed - labels.speed).abs().mean(),
            "waypoints": (decoded.waypoints - labels.waypoints).abs().mean(),
        }
        if self.attention_signal != "none":

            def decode(leaf: Tensor) -> ActionOutputs:
                return self._action_outputs(leaf, context.detach(), labels)

            target = self.attention.target(tokens, decode)
            parts["attention"] = self.attention.loss(gated, target)
        if seen is not None and seen.depth_logits is not None:
            depth = torch.stack([batch[key] for key in self.embodiment.depth_keys], dim=1)
            parts["semantics"] = semantic_loss(
                self._semantics(seen), batch["observation.birds_eye"], weights.small_things
            )
            parts["depth"] = depth_loss(seen.depth_logits, depth, self.config.depth)
        if seen is not None and self._teacher:
            parts["teacher"] = grid_loss(seen.grid, self._shown(batch))
        if self.wants_other_look and self.training:
            parts["consistency"] = self._consistency_loss(batch, gated, decoded)
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        return total, parts

    def labels(self, batch: dict[str, Tensor]) -> ParkingLabels:
        """Normalised targets of the heads."""
        actions = self.action_range(batch["action"])  # [B, K, A]
        return make_labels(batch, actions, self.embodiment, self.config.loss.waiting)

    def _action_loss(
        self, tokens: Tensor, context: Tensor, decoded: Decoded, labels: ParkingLabels
    ) -> Tensor:
        """Imitation loss [B] of the head that drives: L1 on the chunk, or token cross-entropy."""
        if self.token_head is None:
            error = (decoded.chunk - labels.action).abs()  # [B, K, A]
            error = (error * labels.weight.unsqueeze(1)).mean(dim=2)  # [B, K]
            return mean_over_steps(error, labels.valid)
        targets = self.token_head.to_tokens(labels.action)
        context = self._with_summary(tokens, context)
        return self._token_loss(self.token_head(tokens, context, targets), targets, labels)

    def _token_loss(self, logits: Tensor, targets: Tensor, labels: ParkingLabels) -> Tensor:
        """Cross-entropy [B] of control tokens."""
        assert self.token_head is not None
        error = self.token_head.loss(logits, targets)
        error = error.unflatten(1, (self.config.chunk, -1)).mean(dim=2)  # [B, K * A] -> [B, K]
        return mean_over_steps(error, labels.valid)

    def _action_outputs(
        self, tokens: Tensor, context: Tensor, labels: ParkingLabels
    ) -> ActionOutputs:
        """The driving head's continuous actions, raw outputs and loss, for attention's target."""
        if self.token_head is not None:
            targets = self.token_head.to_tokens(labels.action)
            logits = self.token_head(tokens, self._with_summary(tokens, context), targets)
            loss = self._token_loss(logits, targets, labels)
            return ActionOutputs(self.token_head.expected(logits), logits, loss)
        decoded = self._decode(tokens, context)
        if self.config.head == "target_speed":
            loss = (decoded.speed - labels.speed).abs().mean(dim=1)
            return ActionOutputs(decoded.speed, decoded.speed, loss)
        loss = self._action_loss(tokens, context, decoded, labels)
        return ActionOutputs(decoded.chunk.flatten(1), decoded.chunk, loss)

    @property
    def sees_cameras(self) -> bool:
        """Whether it sees cameras, and so tells what stands where around the car."""
        return self.config.sees == "cameras"

    def _semantics(self, seen: Seen) -> Tensor:
        """Class logits [B, 3, 64, 64] of the bird's eye, of a policy that sees cameras."""
        if seen.semantics is not None:
            return seen.semantics
        assert self.semantic_head is not None
        factor = SEMANTIC_SIZE * 2 // self.config.grid.size
        return functional.pixel_shuffle(self.semantic_head(seen.grid), factor)

    def _shown(self, batch: dict[str, Tensor]) -> Tensor:
        """The grid that the teacher makes of the label."""
        with torch.no_grad():
            _, _, shown = self._teacher[0].to(batch["observation.state"].device)._tokens(batch)
        assert shown is not None
        return shown.grid

    def _consistency_loss(self, batch: dict[str, Tensor], gated: Gated, decoded: Decoded) -> Tensor:
        """Distance of attention and actions from those for the same state in its other look."""
        looks = {key: batch[f"{OTHER_LOOK}{key}"] for key in self.embodiment.image_keys}
        tokens, context, _ = self._tokens(batch | looks)
        gated_other: Gated = self.attention(tokens)
        decoded_other = self._decode(gated_other.tokens, context)
        return consistency_loss(
            (gated.attention, gated_other.attention), (decoded.chunk, decoded_other.chunk)
        )

    # Control

    def stay_where_stuck(self) -> None:
        if self.caution is not None:
            self.caution.way_out = None

    @property
    def memory_size(self) -> int:
        return 0 if self.caution is None else self.caution.size

    def predict_action_chunk(self, observation: dict[str, Tensor]) -> Tensor:
        """Of a policy that remembers, the chunk for an observation with nothing before it."""
        return self.decide(observation, self.blank_memory(observation))[0]

    @torch.no_grad()
    def decide(self, observation: dict[str, Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
        tokens, context, seen = self._tokens(observation)
        gated: Gated = self.attention(tokens)
        decoded = self._decode(gated.tokens, context)
        attention = gated.attention if self.attention_signal != "none" else None
        self._last = decision_of(decoded.waypoints, attention, seen)
        chunk = self._chunk(observation["observation.state"], gated, context, decoded)
        if self.caution is None or seen is None:
            return chunk, memory
        state = observation["observation.state"]
        target = state[:, self._target]
        situation = Situation(
            occupied=self._occupied(observation, seen),
            speed=state[:, self._speed],
            steering=state[:, self._steering_angle],
            travel=5.0 * torch.hypot(*decoded.waypoints[:, TRAVEL_WAYPOINT, :2].unbind(dim=1)),
            distance=torch.hypot(target[:, 0], target[:, 1]),
        )
        cautious: tuple[Tensor, Tensor] = self.caution(chunk, situation, target, memory)
        return cautious

    def _chunk(self, state: Tensor, gated: Gated, context: Tensor, decoded: Decoded) -> Tensor:
        """Actions [B, K, A] of the head that drives."""
        if self.token_head is not None:
            context = self._with_summary(gated.tokens, context)
            return self.action_range.inverse(self.token_head.decode(gated.tokens, context))
        if self.config.head == "target_speed":
            action = self.config.speed_controller.action(
                current_speed=state[:, self._speed],
                target_speed=decoded.speed[:, 0] * 2.0,
                steer=decoded.speed[:, 1],
                reverse=decoded.speed[:, 2],
            )
            return action.unsqueeze(1)  # [B, A] -> [B, 1, A]
        return self.action_range.inverse(decoded.chunk)

    def _occupied(self, observation: dict[str, Tensor], seen: Seen) -> Tensor:
        """How probably an obstacle stands in each cell around the car, [B, S, S]."""
        if self.sees_cameras:
            return class_probabilities(self._semantics(seen))[:, OBSTACLE]
        label = observation["observation.birds_eye"]
        return (label == OBSTACLE).to(observation["observation.state"].dtype)

    @torch.no_grad()
    def predict_semantics(self, observation: dict[str, Tensor]) -> Tensor:
        """Class probabilities [B, 3, 64, 64] of the bird's eye, for a policy that sees cameras."""
        _, _, seen = self._tokens(observation)
        assert seen is not None
        return class_probabilities(self._semantics(seen))

    @torch.no_grad()
    def diagnostics(self) -> Shown:
        decision = self._last
        if decision is None:
            return {}
        shown = shown_waypoints(decision)
        if decision.seen is not None and self.sees_cameras:
            shown |= shown_map(self._semantics(decision.seen))
        return shown | shown_attention(decision, self.config, self.embodiment)
