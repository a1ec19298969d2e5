"""A small convolutional image encoder at stride 8, made for CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDE = 8


class ResidualBlock(nn.Module):
    """Depth-wise 5x5, then point-wise expansion and reduction, added to the input.

    The last map starts small, so that a stack of blocks begins near the identity and needs no
    normalisation between them.
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.expand = nn.Conv2d(channels, expansion * channels, 1)
        self.reduce = nn.Conv2d(expansion * channels, channels, 1)
        nn.init.normal_(self.reduce.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.reduce(torch.relu(self.expand(self.depthwise(features))))


class ImageEncoder(nn.Module):
    """uint8 images [M, H, W, 3] -> features [M, C, H/8, W/8].

    The first layer is a linear map of 4x4 patches: on a CPU it costs a ninth of a 3x3 convolution
    at that resolution, and the overlapping stride-2 convolution behind it restores the context.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels // 2, 4, stride=4)
        self.down = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] % STRIDE or images.shape[2] % STRIDE:
            raise ValueError(
                f"image height and width must be multiples of {STRIDE}, got "
                f"{images.shape[1]}x{images.shape[2]}"
            )
        # [M, H, W, 3] -> [M, 3, H, W]: a view that is channels-last in memory
        pixels = images.permute(0, 3, 1, 2).float().sub_(127.5).div_(64.0)
        features = torch.relu(self.patches(pixels))  # [M, C/2, H/4, W/4]
        features = torch.relu(self.norm(self.down(features)))  # [M, C, H/8, W/8]
        return self.blocks(features)
