"""What a parking policy sees: cameras, or the label that they should amount to, as tokens.

    cameras -> encoder -> depth -> bird's-eye grid \\
                                                    -> grid encoder -> fusion with the state
    semantic label ------------> bird's-eye grid /

Both views end in the same `BirdsEyeEncoder`, so that what is learnt behind the one fits the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.modules.birds_eye import DepthWeightedSampling, Grid, LiftSplat, in_frame
from helmsight.policies.modules.image_encoder import (
    FINE_STRIDE,
    ImageEncoder,
    PyramidEncoder,
    ResidualBlock,
)
from helmsight.policies.modules.transformer import EncoderBlock, fixed_positions
from helmsight.policies.parking.config import (
    SEMANTIC_CLASSES,
    SEMANTIC_SIZE,
    ParkingPolicyConfig,
)
from helmsight.policies.parking.semantics import class_shares, coarse_label


class Seen(NamedTuple):
    """Fused tokens [B, N, D] and the grid [B, D, G/2, G/2] before fusion.

    Of cameras also the depth logits [B, C, D, h, w], and class logits [B, 3, 64, 64] of the bird's
    eye where the view has them rather than the grid.
    """

    tokens: Tensor
    grid: Tensor
    depth_logits: Tensor | None = None
    semantics: Tensor | None = None


def lifted_channels(config: ParkingPolicyConfig) -> int:
    """Channels of features that are carried from the cameras into the grid."""
    return config.image_channels // 2


class SurroundView(nn.Module):
    """Cameras, target and state to fused bird's-eye tokens."""

    def __init__(self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec) -> None:
        super().__init__()
        channels, lifted = config.image_channels, lifted_channels(config)
        self.encoder = ImageEncoder(channels, config.image_blocks)
        self.depth_head = nn.Conv2d(channels, config.depth.count, 1)
        self.feature_head = nn.Conv2d(channels, lifted, 1)
        to_grid = DepthWeightedSampling if config.birds_eye == "sampling" else LiftSplat
        self.to_grid = to_grid(embodiment.cameras, lifted, config.depth, config.grid)
        self.birds_eye = BirdsEyeEncoder(config, self.to_grid.out_channels)

    def forward(self, images: Tensor, target: Tensor, state_tokens: Tensor) -> Seen:
        """images [B, C, H, W, 3] uint8, target [B, 3], state tokens [B, T, D]."""
        batch, cameras = images.shape[:2]
        features = self.encoder(images.flatten(0, 1))  # [B * C, F, h, w]
        depth_logits = self.depth_head(features).unflatten(0, (batch, cameras))  # [B, C, D, h, w]
        lifted = self.feature_head(features).unflatten(0, (batch, cameras))  # [B, C, F / 2, h, w]
        cells = self.to_grid(lifted, depth_logits.softmax(dim=2))  # [B, G_c, G, G]
        tokens, grid = self.birds_eye(cells, target, state_tokens)
        return Seen(tokens, grid, depth_logits)


class FineSurroundView(nn.Module):
    """Cameras, target and state to fused bird's-eye tokens, by finer features and cells.

    Features have a stride of 4 pixels and are asked for at four places a cell. What stands where is
    read from the cells before they become tokens of 2 x 2: a token of 2.5 m does not hold where in
    it a box of 0.6 m stands.
    """

    def __init__(self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec) -> None:
        super().__init__()
        lifted, size = lifted_channels(config), config.grid.size
        self.encoder = PyramidEncoder(config.image_channels, config.image_blocks)
        self.depth_head = nn.Conv2d(lifted, config.depth.count, 1)
        self.feature_head = nn.Conv2d(lifted, lifted, 1)
        places = Grid(2 * size, config.grid.extent)
        self.to_grid = DepthWeightedSampling(
            embodiment.cameras, lifted, config.depth, places, FINE_STRIDE
        )
        channels = self.to_grid.out_channels  # as many as `LabelView` has
        self.merge = nn.Sequential(
            nn.Conv2d(channels, channels, 2, stride=2), nn.ReLU(), ResidualBlock(channels)
        )
        self.fold = SEMANTIC_SIZE // size
        self.semantic_head = nn.Sequential(
            nn.Conv2d(channels + 3, config.width, 1),
            nn.ReLU(),
            nn.Conv2d(config.width, SEMANTIC_CLASSES * self.fold**2, 1),
        )
        self.birds_eye = BirdsEyeEncoder(config, channels)
        for part in (self.merge, self.semantic_head):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, target: Tensor, state_tokens: Tensor) -> Seen:
        """images [B, C, H, W, 3] uint8, target [B, 3], state tokens [B, T, D]."""
        batch, cameras = images.shape[:2]
        features = self.encoder(images.flatten(0, 1))  # [B * C, F, H/4, W/4]
        depth_logits = self.depth_head(features).unflatten(0, (batch, cameras))
        lifted = self.feature_head(features).unflatten(0, (batch, cameras))
        places = self.to_grid(lifted, depth_logits.softmax(dim=2))  # [B, G_c, 2 G, 2 G]
        cells = self.merge(places)  # [B, G_c, G, G]
        marked = torch.cat([cells, self.birds_eye.target_channels(target)], dim=1)
        semantics = functional.pixel_shuffle(self.semantic_head(marked), self.fold)
        tokens, grid = self.birds_eye(torch.relu(cells), target, state_tokens)
        return Seen(tokens, grid, depth_logits, semantics)


class LabelView(nn.Module):
    """The semantic bird's-eye label, target and state to fused bird's-eye tokens.

    Privileged: it sees what no camera shows. Its policy is the teacher of a camera policy, and the
    bound of what perfect perception would give (after Chen et al. 2019, learning by cheating).
    """

    def __init__(self, config: ParkingPolicyConfig) -> None:
        super().__init__()
        self.fold = max(SEMANTIC_SIZE // config.grid.size, 1)
        channels = 2 * (lifted_channels(config) + 1)  # as many as sampling at two heights gives
        self.embed = nn.Conv2d(SEMANTIC_CLASSES * self.fold**2, channels, 1)
        self.birds_eye = BirdsEyeEncoder(config, channels)
        self.size = config.grid.size

    def forward(self, label: Tensor, target: Tensor, state_tokens: Tensor) -> Seen:
        """label [B, S, S] of class ids, target [B, 3], state tokens [B, T, D]."""
        shares = class_shares(coarse_label(label, 2 * self.size * self.fold))  # [B, 3, 64, 64]
        folded = functional.pixel_unshuffle(shares, self.fold)  # [B, 3 * fold^2, G, G]
        tokens, grid = self.birds_eye(torch.relu(self.embed(folded)), target, state_tokens)
        return Seen(tokens, grid)


class BirdsEyeEncoder(nn.Module):
    """A grid of features, the target's pose and the state's tokens, fused into grid tokens."""

    positions: Tensor
    cells: Tensor

    def __init__(self, config: ParkingPolicyConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        hidden, width = config.image_channels, config.width
        self.grid_encoder = nn.Sequential(
            nn.Conv2d(channels + 3, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, width, 3, stride=2, padding=1),
            nn.GroupNorm(1, width),
            nn.ReLU(),
            ResidualBlock(width),
            ResidualBlock(width),
        )
        self.grid_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.token_size = config.grid.size // 2
        positions = fixed_positions(self.token_size, self.token_size, width)
        self.register_buffer("positions", positions, persistent=False)
        cells = torch.tensor(config.grid.centers(), dtype=torch.float32)  # [G * G, 2]
        self.register_buffer("cells", cells, persistent=False)
        self.fusion = nn.ModuleList(
            EncoderBlock(width, config.attention_heads) for _ in range(config.fusion_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, cells: Tensor, target: Tensor, state_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """cells [B, G_c, G, G], target [B, 3], state [B, T, D] -> tokens [B, N, D] and grid."""
        grid = torch.cat([cells, self.target_channels(target)], dim=1)
        grid = self.grid_encoder(grid.contiguous(memory_format=torch.channels_last))
        tokens = grid.flatten(2).transpose(1, 2)  # [B, D, G/2, G/2] -> [B, N, D]
        tokens = torch.cat([tokens + self.positions, state_tokens], dim=1)  # [B, N + T, D]
        for block in self.fusion:
            tokens = block(tokens)
        return self.norm(tokens[:, : self.token_size**2]), grid

    def target_channels(self, target: Tensor) -> Tensor:
        """Where each cell lies in the target's frame, and a soft outline of the parked car.

        [B, 3] -> [B, 3, G, G]
        """
        along, across = in_frame(self.cells, target)  # [B, G * G] each
        config = self.config
        middle = (config.body_front - config.body_rear) / 2.0
        half_length = (config.body_front + config.body_rear) / 2.0
        inside = torch.sigmoid(4.0 * (half_length - (along - middle).abs())) * torch.sigmoid(
            4.0 * (config.body_width / 2.0 - across.abs())
        )
        channels = torch.stack([torch.tanh(along / 5.0), torch.tanh(across / 5.0), inside], dim=1)
        return channels.unflatten(2, (config.grid.size, config.grid.size))
