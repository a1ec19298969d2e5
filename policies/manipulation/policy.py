"""The manipulation policy: cameras, a robot arm's state and a sentence in, a chunk of actions out.

cameras, instruction -> vision encoder -> control-aided attention -> routed trunk -> action slots
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import TASK_INDEX_KEY, TASK_KEY, Policy, Statistics, register
from helmsight.policies.explainable import Explainable, as_distribution
from helmsight.policies.manipulation.config import ManipulationPolicyConfig
from helmsight.policies.manipulation.where_to_look import (
    FOCUS_KEY,
    OTHER_FOCUS_KEY,
    OTHER_INSTRUCTION_KEY,
    STATE_KEY,
    PointingTeacher,
    ask_otherwise,
    focus_error,
)
from helmsight.policies.modules.axis_angle import rotation_columns
from helmsight.policies.modules.control_aided import ActionOutputs, Gated, build_attention
from helmsight.policies.modules.film_vision import Encoded, FilmVisionTransformer, patch_grid
from helmsight.policies.modules.focus_head import FocusHead
from helmsight.policies.modules.instruction_encoder import encode_instructions
from helmsight.policies.modules.instruction_table import InstructionTable
from helmsight.policies.modules.normaliser import QuantileScaler, Standardiser
from helmsight.policies.modules.pointing import pointed_shares
from helmsight.policies.modules.pretrained_vision import PretrainedVision
from helmsight.policies.modules.routed_trunk import RoutedTrunk

# Where the statistics keep the embedding of each instruction of the training data.
INSTRUCTIONS = "instruction_embeddings"
CONTEXT_TOKENS = 2  # proprioception and language


class Seen(NamedTuple):
    """Vision tokens [B, N, D] before control-aided attention, and the context [B, 2, D].

    encoded: what the vision encoder gave.
    """

    tokens: Tensor
    context: Tensor
    encoded: Encoded


@register("manipulation")
class ManipulationPolicy(Policy):
    """See the module's docstring; `config` says which parts are on."""

    config_class = ManipulationPolicyConfig
    config: ManipulationPolicyConfig
    follows_instructions = True
    optional_inputs: ClassVar[Mapping[str, str]] = {
        FOCUS_KEY: "policy.focus=false policy.other_instruction_share=0",
        OTHER_FOCUS_KEY: "policy.other_instruction_share=0",
        OTHER_INSTRUCTION_KEY: "policy.other_instruction_share=0",
    }

    def __init__(
        self, config: ManipulationPolicyConfig, embodiment: EmbodimentSpec, statistics: Statistics
    ) -> None:
        _check_entries(config, embodiment)
        vision = _make_vision(config, embodiment)
        if isinstance(vision, PretrainedVision):
            described = dataclasses.replace(config.vision, architectures=vision.architectures)
            config = dataclasses.replace(config, vision=described)
        super().__init__(config, embodiment, statistics)
        self.vision = vision
        width, entries = config.trunk.width, embodiment.action.size
        tokens = len(embodiment.cameras) * vision.tokens_per_camera
        self.vision_projection = nn.Linear(vision.width, width)
        self.vision_embedding = nn.Parameter(0.3 * torch.randn(tokens, width))
        self.attention = build_attention(config.attention, width, tokens)
        state = statistics[STATE_KEY]
        self.standardise = Standardiser(state["mean"], state["std"])
        inputs = embodiment.state.size + (3 if config.axis_angle_entry is not None else 0)
        self.state_encoder = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, width)
        )
        self.language_projection = nn.Linear(config.instruction_width, width)
        self.context_embedding = nn.Parameter(0.3 * torch.randn(CONTEXT_TOKENS, width))
        self.slot_embedding = nn.Parameter(0.5 * torch.randn(config.chunk, width))
        self.focus = FocusHead(width, tokens, CONTEXT_TOKENS) if config.focus else None
        beside = CONTEXT_TOKENS + (self.focus is not None)
        self.trunk = RoutedTrunk(config.trunk, tokens, beside, config.chunk)
        self.read_out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, entries))
        self.action_scale = QuantileScaler(
            statistics["action"], embodiment.action, config.unscaled_actions
        )
        self.instructions = InstructionTable(
            cast("Mapping[str, Sequence[float]]", statistics.get(INSTRUCTIONS, {})),
            config.instruction_width,
            encode_instructions,
        )
        self.teacher = _make_teacher(config, embodiment, vision)
        self._last: dict[str, Tensor] = {}

    @property
    def known_instructions(self) -> tuple[str, ...]:
        return tuple(self.instructions.row_of)

    def know_instructions(self, embeddings: Mapping[str, Sequence[float]]) -> None:
        """Know the instructions of the training data, in the order of its task indices."""
        known = {instruction: list(values) for instruction, values in embeddings.items()}
        self.statistics = {**self.statistics, INSTRUCTIONS: known}
        self.instructions.learn(known)

    # What it wants to be fed

    def observation_keys(self) -> list[str]:
        return [*self.embodiment.image_keys, STATE_KEY, TASK_KEY]

    def input_keys(self) -> list[str]:
        keys = [*self.embodiment.image_keys, STATE_KEY, TASK_INDEX_KEY, "action"]
        if self.focus is not None:
            keys.append(FOCUS_KEY)
        if self.config.other_instruction_share > 0.0:
            keys += [OTHER_FOCUS_KEY, OTHER_INSTRUCTION_KEY]
        return keys

    def window_offsets(self) -> dict[str, list[int]]:
        return {"action": list(range(self.config.chunk))}

    @property
    def steps_per_decision(self) -> int:
        return self.config.steps_per_decision

    # Observation to tokens

    def images(self, batch: dict[str, Tensor]) -> Tensor:
        """Images of all cameras, uint8 [B, C, H, W, 3]."""
        return torch.stack([batch[key] for key in self.embodiment.image_keys], dim=1)

    def condition(self, batch: dict[str, Tensor]) -> Tensor:
        """The instruction's embedding [B, T] with entries of about 1, with noise in training.

        By `task`, the sentences, or by `task_index` into the training data's instructions.
        """
        if TASK_KEY in batch:
            embedding = self.instructions(cast("Sequence[str]", batch[TASK_KEY]))
        elif TASK_INDEX_KEY in batch:
            embedding = self.instructions.rows(batch[TASK_INDEX_KEY])
        else:
            raise KeyError(f"the batch lacks {TASK_KEY!r}, the instruction to follow")
        return self._heard(embedding)

    def _heard(self, embedding: Tensor) -> Tensor:
        """Embeddings [B, T] with entries of about 1; in training as paraphrases have them."""
        if self.training:
            embedding = self._misheard(embedding)
        embedding = embedding / embedding.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return embedding * self.config.instruction_width**0.5

    def _misheard(self, embedding: Tensor) -> Tensor:
        """Embeddings [B, T] of norm 1 as a paraphrase could have them."""
        noise = torch.randn_like(embedding) / self.config.instruction_width**0.5
        embedding = embedding + self.config.instruction_noise * noise
        known = self.instructions.vectors
        if not len(known) or self.config.instruction_blend == 0.0:
            return embedding
        other = known[torch.randint(len(known), (len(embedding),), device=known.device)]
        blend = torch.rand(len(embedding), 1, device=known.device) * self.config.instruction_blend
        return torch.lerp(embedding, other, blend)

    def _state(self, state: Tensor) -> Tensor:
        """Network inputs [B, S'] of states [B, S]: standardised, an orientation as a matrix."""
        first = self.config.axis_angle_entry
        values = self.standardise(state)
        if self.training and self.config.state_noise > 0.0:
            values = values + self.config.state_noise * torch.randn_like(values)
        if first is None:
            return values
        turned = rotation_columns(state[:, first : first + 3])
        return torch.cat([values[:, :first], turned, values[:, first + 3 :]], dim=1)

    def see(self, batch: dict[str, Tensor]) -> Seen:
        """What a decision is made from."""
        condition = self.condition(batch)
        encoded: Encoded = self.vision(self.images(batch), condition)
        vision = encoded.tokens.flatten(1, 2)  # [B, C, A, D_v] -> [B, N, D_v]
        proprioception = self.state_encoder(self._state(batch[STATE_KEY]))
        language = self.language_projection(condition)
        context = torch.stack([proprioception, language], dim=1) + self.context_embedding
        return Seen(self.vision_projection(vision), context, encoded)

    def decode(self, tokens: Tensor, context: Tensor) -> Tensor:
        """`decode_knowing` where the policy itself finds the thing and its place."""
        return self.decode_knowing(tokens, context, self.found(tokens, context))

    def found(self, tokens: Tensor, context: Tensor) -> Tensor | None:
        """Where the thing and its place are by gated tokens, see `FocusHead`; None without one."""
        return None if self.focus is None else self.focus(tokens, context)

    def decode_knowing(self, tokens: Tensor, context: Tensor, found: Tensor | None) -> Tensor:
        """Normalised actions [B, K, A] of gated tokens [B, N, D] and the context [B, 2, D].

        Places join the tokens here: a normalisation follows, which would undo the scale by which
        control-aided attention gates them, if the places did not keep theirs.
        """
        if self.focus is not None and found is not None:
            context = torch.cat([context, self.focus.as_token(found)], dim=1)  # [B, 3, D]
        slots = self.slot_embedding.expand(tokens.shape[0], -1, -1)  # [K, D] -> [B, K, D]
        chunk: Tensor = self.read_out(self.trunk(tokens + self.vision_embedding, context, slots))
        return chunk

    def explainable(self) -> Explainable:
        from helmsight.policies.manipulation.explanation import ManipulationExplanation

        return ManipulationExplanation(self)

    # Training

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.training and OTHER_INSTRUCTION_KEY in batch:
            batch = ask_otherwise(batch, self.config.other_instruction_share)
        target = self.action_scale(batch["action"])  # [B, K, A]
        valid = (~batch["action_is_pad"]).float()
        seen = self.see(batch)
        gated: Gated = self.attention(seen.tokens)
        found = self.found(gated.tokens, seen.context)
        chunk = self.decode_knowing(gated.tokens, seen.context, found)
        shown = valid.any(dim=1).float()  # [B]
        error = _imitation_error(chunk, target, valid)
        parts = {"action": (error * shown).sum() / shown.sum().clamp(min=1.0)}
        if found is not None:
            parts["focus"] = focus_error(found, batch)
        if self.teacher is not None and seen.encoded.scores is not None:
            parts["pointing"] = self.teacher.told(seen.encoded.scores, batch)
            if OTHER_INSTRUCTION_KEY in batch:
                parts["others"] = self._others_loss(seen.encoded, batch)
        if self.config.attention.signal != "none":
            parts["attention"] = self._attention_loss(seen, gated, target, valid)
        weights = self.config.loss
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        return total, parts

    def _others_loss(self, encoded: Encoded, batch: dict[str, Tensor]) -> Tensor:
        """Of what the patches show, for every other instruction [B, I] that the scenes allow."""
        assert self.teacher is not None and encoded.patches is not None
        assert isinstance(self.vision, FilmVisionTransformer) and self.vision.pointing is not None
        other = batch[OTHER_INSTRUCTION_KEY]
        heard = self._heard(self.instructions.rows(other.clamp(min=0).flatten()))
        conditions = heard.unflatten(0, other.shape)  # [B * I, T] -> [B, I, T]
        scores = self.vision.pointing.scores_of_any(encoded.patches, conditions)
        return self.teacher.others(scores, batch)

    def _attention_loss(self, seen: Seen, gated: Gated, target: Tensor, valid: Tensor) -> Tensor:
        """Distance of the attention from its target, for the batch's first `attention_share`."""
        some = slice(0, max(1, round(self.config.attention_share * len(target))))
        context = seen.context[some].detach()

        def decode(leaf: Tensor) -> ActionOutputs:
            chunk = self.decode(leaf, context)
            loss = _imitation_error(chunk, target[some], valid[some])
            return ActionOutputs(chunk.flatten(1), chunk, loss)  # [B, K, A] -> [B, K * A]

        wanted = self.attention.target(seen.tokens[some], decode)
        loss: Tensor = self.attention.loss(Gated(*(part[some] for part in gated)), wanted)
        return loss

    # Control

    @torch.inference_mode()
    def predict_action_chunk(self, observation: dict[str, Tensor]) -> Tensor:
        seen = self.see(observation)
        gated: Gated = self.attention(seen.tokens)
        chunk = self.action_scale.inverse(self.decode(gated.tokens, seen.context))
        self._last = {key: values[:1] for key, values in observation.items()}
        self._last["attention"] = gated.attention[:1]
        if seen.encoded.scores is not None:
            self._last["scores"] = seen.encoded.scores[:1]
        return chunk

    @torch.no_grad()
    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """Where the last decision looked, and what it took for what the instruction is about.

        `attention.<image key>` [h, w], 1 where it is largest. `pointing.<image key>` [2, 3], for
        the thing and for its place: column and row, 0 to 1 from the upper left corner, and how sure
        it is that the camera sees it, 0 to 1.
        """
        if not self._last:
            return {}
        return self._attention_maps() | self._pointed_places()

    def _pointed_places(self) -> dict[str, NDArray[Any]]:
        vision, scores = self.vision, self._last.get("scores")
        if scores is None or not isinstance(vision, FilmVisionTransformer):
            return {}
        assert vision.pointing is not None
        sure = 1.0 - pointed_shares(scores)[..., -1:]
        places = torch.cat([vision.pointing.places(scores), sure], dim=-1)[0].float().cpu()
        return {
            f"pointing.{key}": np.asarray(places[index])  # [M, 3]
            for index, key in enumerate(self.embodiment.image_keys)
        }

    def _attention_maps(self) -> dict[str, NDArray[Any]]:
        maps = self.over_patches(self._last, self._last["attention"].unsqueeze(1))
        if maps is None:
            return {}
        maps = maps[0, :, 0]  # [1, C, 1, h, w] -> [C, h, w]
        maps = (maps / maps.max().clamp(min=1e-12)).float().cpu()
        return {
            f"attention.{key}": np.asarray(maps[index])
            for index, key in enumerate(self.embodiment.image_keys)
        }

    def over_patches(self, batch: dict[str, Tensor], maps: Tensor) -> Tensor | None:
        """Maps over vision tokens [B, M, N] as maps over the patches, [B, C, M, h, w].

        A token's share goes to the patches that it was gathered from, by the weights of the
        aggregation's last attention. None for an encoder that does not tell.
        """
        weights = self.vision.patch_weights(self.images(batch), self.condition(batch))
        if weights is None:
            return None
        cameras = len(self.embodiment.cameras)
        shares = maps.unflatten(2, (cameras, -1)).transpose(1, 2)  # [B, C, M, A]
        placed = as_distribution(weights).to(shares.dtype)  # [B, C, A, N]
        return (shares @ placed).unflatten(3, (self.vision.rows, self.vision.columns))


def _check_entries(config: ManipulationPolicyConfig, embodiment: EmbodimentSpec) -> None:
    """Raises ValueError for entries that the configuration names and the embodiment has not."""
    first, size = config.axis_angle_entry, embodiment.state.size
    if first is not None and not 0 <= first <= size - 3:
        raise ValueError(
            f"axis_angle_entry is {first}, but the state has the entries "
            f"{', '.join(embodiment.state.names)}; null for one without an orientation"
        )
    for entry in config.unscaled_actions:
        if not 0 <= entry < embodiment.action.size:
            raise ValueError(
                f"unscaled_actions names entry {entry}, but the action has the entries "
                f"{', '.join(embodiment.action.names)}"
            )


def _make_vision(
    config: ManipulationPolicyConfig, embodiment: EmbodimentSpec
) -> FilmVisionTransformer | PretrainedVision:
    """The encoder that the configuration asks for. Raises ValueError for unfit cameras."""
    cameras = len(embodiment.cameras)
    if not cameras:
        raise ValueError(
            "a manipulation policy needs an embodiment with cameras; "
            f"{embodiment.name} was recorded without"
        )
    if config.vision.backbones:
        return PretrainedVision(config.vision, cameras, config.instruction_width)
    rows, columns = patch_grid([(camera.height, camera.width) for camera in embodiment.cameras])
    return FilmVisionTransformer(config.vision, cameras, rows, columns, config.instruction_width)


def _make_teacher(
    config: ManipulationPolicyConfig,
    embodiment: EmbodimentSpec,
    vision: FilmVisionTransformer | PretrainedVision,
) -> PointingTeacher | None:
    """For an encoder that points, where the data say at what."""
    first = config.axis_angle_entry
    if not (config.vision.pointing and config.focus) or first is None:
        return None
    return PointingTeacher(embodiment, vision.rows, vision.columns, first)


def _imitation_error(chunk: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """L1 [B] of chunks [B, K, A], over the steps that were recorded (valid [B, K])."""
    error = (chunk - target).abs().mean(dim=2)  # [B, K]
    return (error * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1.0)
