"""A small convolutional image encoder at stride 8, made for CPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

PATCH = 4
STRIDE = 8
FINE_STRIDE = 4


class ResidualBlock(nn.Module):
    """Depth-wise 3x3, then point-wise expansion and reduction, added to the input.

    The last map starts small, so that a stack of blocks begins near the identity and needs no
    normalisation between them. Point-wise maps run as matrix products over the pixels: as
    convolutions they hand gradients back in another memory order, which costs a fifth of a step.
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.reduce = nn.Linear(expansion * channels, channels)
        nn.init.normal_(self.reduce.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        pixels = self.depthwise(features).permute(0, 2, 3, 1)  # [M, C, h, w] -> [M, h, w, C]
        pixels = self.reduce(torch.relu(self.expand(pixels)))
        return features + pixels.permute(0, 3, 1, 2)


class ImageEncoder(nn.Module):
    """uint8 images [M, H, W, 3] -> features [M, C, H/8, W/8].

    The first layer is a linear map of 4x4 patches: on a CPU it costs a ninth of a 3x3 convolution
    at that resolution, and the overlapping stride-2 convolution behind it restores the context.
    Everything is channels-last in memory, which makes these convolutions three to seven times as
    fast on a CPU.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.patches = nn.Linear(3 * PATCH * PATCH, channels // 2)
        self.down = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        return self.deepened(self.patch_features(images))

    def patch_features(self, images: Tensor) -> Tensor:
        """What single patches hold: images [M, H, W, 3] -> [M, C/2, H/4, W/4]."""
        count, height, width, _ = images.shape
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"image height and width must be multiples of {STRIDE}, got {height}x{width}"
            )
        # [M, H, W, 3] -> [M, H/4, 4, W/4, 12] -> [M, H/4, W/4, 48]: 4x4 pixels side by side
        pixels = images.view(count, height // PATCH, PATCH, width // PATCH, 3 * PATCH)
        pixels = pixels.transpose(2, 3).flatten(3).float().sub_(127.5).div_(64.0)
        return torch.relu(self.patches(pixels)).permute(0, 3, 1, 2)  # [M, C/2, H/4, W/4]

    def deepened(self, patches: Tensor) -> Tensor:
        """What their surroundings say of them: [M, C/2, H/4, W/4] -> [M, C, H/8, W/8]."""
        features: Tensor = self.blocks(torch.relu(self.norm(self.down(patches))))
        return features


class PyramidEncoder(nn.Module):
    """uint8 images [M, H, W, 3] -> features [M, C/2, H/4, W/4].

    What `ImageEncoder` sees at stride 8, laid over what single patches hold at stride 4 (feature
    pyramid, Lin et al. 2017): a box some metres away is no larger than a patch.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.encoder = ImageEncoder(channels, blocks)
        self.top_down = nn.Conv2d(channels, channels // 2, 1)
        self.lateral = nn.Conv2d(channels // 2, channels // 2, 1)
        self.block = ResidualBlock(channels // 2)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        patches = self.encoder.patch_features(images)  # [M, C/2, H/4, W/4]
        surroundings = self.top_down(self.encoder.deepened(patches))  # [M, C/2, H/8, W/8]
        over = functional.interpolate(surroundings, scale_factor=2.0, mode="nearest")
        features: Tensor = self.block(torch.relu(over + self.lateral(patches)))
        return features
