"""A small vision transformer with a convolution stem, steered by an instruction (CogVLA's EFA).

Encoder-FiLM aggregation routing: the instruction modulates every block, and a few learned tokens
gather what it asks for; after the last block only they go on. Convolutions before the blocks make a
transformer learn from few samples (Xiao et al. 2021, "Early convolutions help transformers see
better"), and on a CPU they cost less than blocks at their resolution would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helmsight.policies.modules.film import FilmBlock
from helmsight.policies.modules.image_encoder import STRIDE, ImageEncoder
from helmsight.policies.modules.pointing import MAPS, Pointing
from helmsight.policies.modules.transformer import Attention, fixed_positions, recorded_weights

# Of a patch token that the aggregation tokens' first state is mixed from.
_MIXED_CHANNELS = 8


@dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision encoder that is trained from scratch, or which pretrained ones to use.

    film: the instruction modulates the blocks, by maps of rank film_rank. aggregation_tokens: how
    many tokens an image becomes; 0 hands on its patches; seeded: whether they begin as a map of all
    places, or as learned vectors alone, as published. Without film and aggregation this is an
    ordinary vision transformer.
    pointing: two more tokens a camera, of where the thing and its place are that the instruction is
    about (`Pointing`). Not with pretrained models.
    backbones: pretrained models by `transformers` in its place, one or two, such as
    "facebook/dinov2-small" or a folder; train_backbones: whether they learn too; backbone_patches:
    rows and columns of patches that they see, to which images are scaled.
    architectures: transformers' own description of each as JSON, filled in when a policy is made,
    so that loading it asks no hub.
    """

    stem_channels: int = 48
    stem_blocks: int = 1
    width: int = 128
    heads: int = 4
    blocks: int = 3
    film: bool = True
    film_rank: int = 32
    aggregation_tokens: int = 8
    seeded: bool = True
    pointing: bool = False
    backbones: tuple[str, ...] = ()
    train_backbones: bool = False
    backbone_patches: int = 16
    architectures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"vision.blocks must be at least 1, got {self.blocks}")
        if self.aggregation_tokens < 0:
            raise ValueError(
                f"vision.aggregation_tokens must be 0 or more, got {self.aggregation_tokens}"
            )
        if self.pointing and self.backbones:
            raise ValueError(
                "vision.pointing is for the encoder trained from scratch; set it to "
                "false with vision.backbones"
            )
        if len(self.backbones) > 2:
            raise ValueError(f"vision.backbones must be one or two, got {len(self.backbones)}")


class Encoded(NamedTuple):
    """Tokens [B, C, A, D]; where pointing is on its scores [B, C, M, N]; patches [B, C, N, D]
    before anything was asked.
    """

    tokens: Tensor
    scores: Tensor | None = None
    patches: Tensor | None = None


class ConvolutionStem(nn.Module):
    """uint8 images [M, H, W, 3] -> patch features [M, N, D] at stride 16, row by row."""

    stride = 2 * STRIDE

    def __init__(self, channels: int, blocks: int, width: int) -> None:
        super().__init__()
        self.encoder = ImageEncoder(channels, blocks)
        self.down = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.down.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        features = self.down(self.encoder(images))
        return features.flatten(2).transpose(1, 2)  # [M, D, h, w] -> [M, h * w, D]


class FilmVisionTransformer(nn.Module):
    """Images of several cameras and an instruction to tokens; the cameras share all but places.

    The aggregation tokens begin as learned vectors plus a linear map of all patches, each at its
    own place: where something is, a map of places shows from fewer samples than attention does,
    which has to find places by their codes. They join after the first block.
    """

    def __init__(
        self, config: VisionConfig, cameras: int, rows: int, columns: int, condition_width: int
    ) -> None:
        super().__init__()
        self.config, self.rows, self.columns = config, rows, columns
        width, count = config.width, config.aggregation_tokens
        self.width = width
        self.stem = ConvolutionStem(config.stem_channels, config.stem_blocks, width)
        places = fixed_positions(rows, columns, width).repeat(cameras, 1, 1)
        own = 0.1 * torch.randn(cameras, 1, width)
        self.place_embedding = nn.Parameter(places + own)  # [C, N, D]
        conditioned = condition_width if config.film else None
        self.blocks = nn.ModuleList(
            FilmBlock(width, config.heads, conditioned, config.film_rank)
            for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.aggregation: AggregationSeed | None = None
        if count:
            mixed = rows * columns if config.seeded else 0
            self.aggregation = AggregationSeed(width, cameras, mixed, count)
        self.pointing: Pointing | None = None
        if config.pointing:
            self.pointing = Pointing(width, condition_width, rows, columns)

    @property
    def tokens_per_camera(self) -> int:
        gathered = self.config.aggregation_tokens or self.rows * self.columns
        return gathered + (MAPS if self.pointing is not None else 0)

    def forward(self, images: Tensor, condition: Tensor) -> Encoded:
        """images [B, C, H, W, 3] uint8, condition [B, T] -> tokens [B, C, A, D] and scores.

        A is the number of aggregation tokens, or of patches where there are none, and of the tokens
        that pointing adds.
        """
        batch, cameras = images.shape[:2]
        patches = self.stem(images.flatten(0, 1)).unflatten(0, (batch, cameras))  # [B, C, N, D]
        tokens = (patches + self.place_embedding).flatten(0, 1)  # [B * C, N, D]
        conditions = condition.repeat_interleave(cameras, dim=0)  # [B * C, T]
        count = self.rows * self.columns
        last = len(self.blocks) - 1
        scores: Tensor | None = None
        for index, block in enumerate(self.blocks):
            if self.aggregation is not None and index == min(1, last):
                tokens = torch.cat([tokens, self.aggregation(tokens, cameras)], dim=1)
            if self.pointing is not None and index == last:
                seen = tokens[:, :count].unflatten(0, (batch, cameras))
                scores = self.pointing(patches, seen, condition)  # [B, C, M, N]
                pointed = self.pointing.tokens(seen, scores).flatten(0, 1)
                tokens = torch.cat([tokens, pointed], dim=1)
            # After the last block the patches are not needed any more.
            first = count if self.aggregation is not None and index == last else 0
            tokens = block(tokens, conditions, first)
        return Encoded(self.norm(tokens).unflatten(0, (batch, cameras)), scores, patches)

    def patch_weights(self, images: Tensor, condition: Tensor) -> Tensor:
        """How each token mixes the patches in the last block's attention, [B, C, A, N].

        Mean over heads; without aggregation each patch's token is its own. A token of pointing has
        the map that it was made by.
        """
        batch, cameras = images.shape[:2]
        count = self.rows * self.columns
        if self.aggregation is None:
            one = torch.eye(count, device=images.device).expand(batch, cameras, count, count)
            return self._with_pointing(one, self(images, condition).scores)
        attention = self.blocks.get_submodule(str(len(self.blocks) - 1)).get_submodule("attention")
        assert isinstance(attention, Attention)
        with recorded_weights([attention]) as weights:
            scores = self(images, condition).scores
        # [B * C, H, A, N + A] -> [B * C, A, N]
        mixed = weights[attention].mean(dim=1)[..., :count].unflatten(0, (batch, cameras))
        return self._with_pointing(mixed[:, :, : self.config.aggregation_tokens], scores)

    def _with_pointing(self, weights: Tensor, scores: Tensor | None) -> Tensor:
        """Weights [B, C, A, N] followed by those of pointing's tokens [B, C, M, N], if it is on."""
        if scores is None:
            return weights
        return torch.cat([weights, scores.softmax(dim=-1)], dim=2)


class AggregationSeed(nn.Module):
    """The first state of each camera's aggregation tokens: learned, and mixed from its patches.

    patches: how many of them there are to mix; 0 mixes none.
    """

    def __init__(self, width: int, cameras: int, patches: int, count: int) -> None:
        super().__init__()
        self.count, self.mixes = count, patches > 0
        self.token_embedding = nn.Parameter(0.5 * torch.randn(cameras, count, width))
        if not self.mixes:
            return
        self.reduce = nn.Linear(width, _MIXED_CHANNELS)
        mix = torch.randn(cameras, patches * _MIXED_CHANNELS, count * width)
        self.mix = nn.Parameter(mix / (patches * _MIXED_CHANNELS) ** 0.5)

    def forward(self, patches: Tensor, cameras: int) -> Tensor:
        """Patches [B * C, N, D] -> tokens [B * C, A, D]."""
        if not self.mixes:
            batch = patches.shape[0] // cameras
            return self.token_embedding.expand(batch, -1, -1, -1).flatten(0, 1)
        reduced = torch.relu(self.reduce(patches)).flatten(1)  # [B * C, N * 8]
        reduced = reduced.unflatten(0, (-1, cameras)).transpose(0, 1)  # [C, B, N * 8]
        mixed = torch.bmm(reduced, self.mix).transpose(0, 1)  # [B, C, A * D]
        tokens = mixed.unflatten(2, (self.count, -1)) + self.token_embedding  # [B, C, A, D]
        return tokens.flatten(0, 1)


def patch_grid(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of patches of cameras of one size (height, width).

    Raises ValueError for cameras of different sizes, or sizes that the stem's stride does not
    divide.
    """
    if len(set(sizes)) != 1:
        raise ValueError(f"the vision encoder needs one or more cameras of one size, got {sizes}")
    height, width = sizes[0]
    stride = ConvolutionStem.stride
    if height % stride or width % stride:
        raise ValueError(
            f"image height and width must be multiples of {stride}, got {height}x{width}"
        )
    return height // stride, width // stride
