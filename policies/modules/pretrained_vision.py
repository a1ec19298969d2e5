"""Pretrained vision transformers by `transformers`, steered by an instruction (CogVLA's EFA).

One backbone, or two as published (DINOv2 and SigLIP): each has the modulation between attention and
feed-forward of every block, aggregation tokens beside its patches, and a projector of its own; the
instruction says how much of each: V = a_0 P_0(A_0) + a_1 P_1(A_1), a = softmax(MLP(t)).
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.policies.modules.film import LowRankFilm
from helmsight.policies.modules.film_vision import Encoded, VisionConfig

INSTALL = "install it with: pip install 'helmsight[pretrained]'"
# Mean and deviation of the pixels that each kind of model was trained on, channels in [0, 1].
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_PIXELS = {"dinov2": _IMAGENET, "siglip_vision_model": _HALVES}


class PretrainedVision(nn.Module):
    """Images of several cameras and an instruction to tokens, by one or two backbones."""

    def __init__(self, config: VisionConfig, cameras: int, condition_width: int) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.rows = self.columns = config.backbone_patches
        described = config.architectures or (None,) * len(config.backbones)
        if len(described) != len(config.backbones):
            raise ValueError(
                f"vision.architectures describes {len(described)} models, "
                f"vision.backbones names {len(config.backbones)}"
            )
        self.streams = nn.ModuleList(
            PretrainedStream(config, name, architecture, cameras, condition_width)
            for name, architecture in zip(config.backbones, described, strict=True)
        )
        self.mix = (
            nn.Sequential(nn.Linear(condition_width, 64), nn.ReLU(), nn.Linear(64, 2))
            if len(self.streams) == 2
            else None
        )

    @property
    def architectures(self) -> tuple[str, ...]:
        """Each backbone's description as JSON, from which it can be built without its weights."""
        return tuple(
            stream.architecture for stream in self.streams if isinstance(stream, PretrainedStream)
        )

    @property
    def tokens_per_camera(self) -> int:
        return self.config.aggregation_tokens or self.rows * self.columns

    def forward(self, images: Tensor, condition: Tensor) -> Encoded:
        """images [B, C, H, W, 3] uint8, condition [B, T] -> tokens [B, C, A, D]."""
        seen = [stream(images, condition) for stream in self.streams]
        if self.mix is None:
            return Encoded(seen[0])
        shares = self.mix(condition).softmax(dim=1)[:, :, None, None, None]  # [B, 2, 1, 1, 1]
        return Encoded(shares[:, 0] * seen[0] + shares[:, 1] * seen[1])

    def patch_weights(self, images: Tensor, condition: Tensor) -> Tensor | None:
        """How each token mixes the patches; None: pretrained models do not tell their attention."""
        if self.config.aggregation_tokens:
            return None
        count = self.rows * self.columns
        one = torch.eye(count, device=images.device)
        return one.expand(*images.shape[:2], count, count)


class PretrainedStream(nn.Module):
    """One backbone with modulation, aggregation tokens and a projector."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        config: VisionConfig,
        name: str,
        architecture: str | None,
        cameras: int,
        condition_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = load_backbone(name, architecture)
        self.backbone.requires_grad_(config.train_backbones)
        described = self.backbone.config
        self.architecture: str = json.dumps(described.to_dict(), sort_keys=True, default=str)
        self.side = config.backbone_patches * described.patch_size
        hidden, kind = described.hidden_size, described.model_type
        mean, deviation = _PIXELS[kind]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.films = nn.ModuleList(
            LowRankFilm(condition_width, hidden, config.film_rank)
            for _ in (_blocks(self.backbone) if config.film else [])
        )
        count = config.aggregation_tokens
        self.token_embedding = nn.Parameter(0.02 * torch.randn(cameras, count, hidden))
        self.projector = nn.Sequential(
            nn.Linear(hidden, config.width), nn.ReLU(), nn.Linear(config.width, config.width)
        )

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """images [B, C, H, W, 3] uint8, condition [B, T] -> tokens [B, C, A, D]."""
        batch, cameras = images.shape[:2]
        tokens = self._embedded(images.flatten(0, 1))  # [B * C, 1 or 0 + N, H]
        own = self.token_embedding.expand(batch, -1, -1, -1).flatten(0, 1)  # [B * C, A, H]
        tokens = torch.cat([tokens, own], dim=1)
        conditions = condition.repeat_interleave(cameras, dim=0)  # [B * C, T]
        for index, block in enumerate(_blocks(self.backbone)):
            film = self.films[index] if self.config.film else None
            tokens = _run_block(block, tokens, film, conditions)
        kept = self.config.aggregation_tokens or self.config.backbone_patches**2
        normed = _final_norm(self.backbone)(tokens[:, -kept:])  # patches and aggregation come last
        return self.projector(normed).unflatten(0, (batch, cameras))

    def _embedded(self, images: Tensor) -> Tensor:
        """Patch embeddings with their places, behind the class token where there is one."""
        pixels = images.permute(0, 3, 1, 2).float() / 255.0  # [M, H, W, 3] -> [M, 3, H, W]
        size = (self.side, self.side)
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        pixels = (pixels - self.mean) / self.deviation
        if self.backbone.config.model_type == "dinov2":
            embedded: Tensor = self.backbone.embeddings(pixels)  # interpolates its places itself
        else:
            embedded = self.backbone.embeddings(pixels, interpolate_pos_encoding=True)
        return embedded


def load_backbone(name: str, architecture: str | None) -> Any:
    """A DINOv2 or SigLIP vision transformer: with its weights from a hub or folder, or described.

    Raises ValueError naming what to install, what could not be loaded, or a model of another kind.
    """
    transformers = _transformers()
    if architecture is not None:
        values = json.loads(architecture)
        model_class, config_class = _classes(transformers, values["model_type"], name)
        return model_class(config_class.from_dict(values))
    try:
        found = transformers.AutoConfig.from_pretrained(name)
        kind = found.model_type
        if kind == "siglip":
            found, kind = found.vision_config, found.vision_config.model_type
        model_class, _ = _classes(transformers, kind, name)
        return model_class.from_pretrained(name, config=found)
    except OSError as error:
        raise ValueError(
            f"the vision backbone {name!r} could not be loaded: {error}. Give the name of a model "
            "that the hub has, or the folder of a downloaded one"
        ) from error


def _transformers() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"a pretrained vision backbone needs the package transformers; {INSTALL}"
        ) from error
    return transformers


def _classes(transformers: Any, kind: str, name: str) -> tuple[Any, Any]:
    known = {
        "dinov2": ("Dinov2Model", "Dinov2Config"),
        "siglip_vision_model": ("SiglipVisionModel", "SiglipVisionConfig"),
    }
    if kind not in known:
        raise ValueError(
            f"the vision backbone {name!r} is of kind {kind!r}; expected one of "
            f"{', '.join(sorted(known))}"
        )
    model, config = known[kind]
    return getattr(transformers, model), getattr(transformers, config)


def _blocks(backbone: Any) -> Any:
    encoder = getattr(backbone, "vision_model", backbone).encoder
    return encoder.layer if backbone.config.model_type == "dinov2" else encoder.layers


def _final_norm(backbone: Any) -> Any:
    if backbone.config.model_type == "dinov2":
        return backbone.layernorm
    return getattr(backbone, "vision_model", backbone).post_layernorm


def _run_block(block: Any, tokens: Tensor, film: nn.Module | None, condition: Tensor) -> Tensor:
    """A backbone's block [M, N, H] -> [M, N, H], modulated between attention and feed-forward."""
    if hasattr(block, "layer_scale1"):  # DINOv2
        attended = block.layer_scale1(block.attention(block.norm1(tokens))[0])
        tokens = tokens + block.drop_path(attended)
        tokens = tokens if film is None else film(tokens, condition)
        changed: Tensor = block.layer_scale2(block.mlp(block.norm2(tokens)))
        return tokens + block.drop_path(changed)
    attended, _ = block.self_attn(hidden_states=block.layer_norm1(tokens), attention_mask=None)
    tokens = tokens + attended
    tokens = tokens if film is None else film(tokens, condition)
    changed = block.mlp(block.layer_norm2(tokens))
    return tokens + changed
