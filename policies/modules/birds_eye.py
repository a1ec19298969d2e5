"""From camera features to a bird's-eye grid, by predicted depth.

Frame: vehicle frame, +-`extent` metres; row 0 is the farthest forward, column 0 the farthest left.
Two ways: `LiftSplat` (Philion & Fidler 2020), as the published parking networks do it, and
`DepthWeightedSampling`, which asks for each cell what its camera sees there, weighted by the
predicted probability that the surface seen is at the cell's own depth. The second costs a fraction
on a CPU: its work grows with the cells, not with pixels x depth bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from helmsight.envs.spec import CameraSpec
from helmsight.policies.modules.image_encoder import STRIDE


@dataclass(frozen=True)
class DepthBins:
    """Equal depth bins over [near, far) metres along the optical axis."""

    near: float = 0.5
    far: float = 12.5
    count: int = 24

    def __post_init__(self) -> None:
        if not (0.0 < self.near < self.far and self.count >= 1):
            raise ValueError(f"depth bins need 0 < near < far and a count of 1 or more, got {self}")

    @property
    def step(self) -> float:
        return (self.far - self.near) / self.count

    def centers(self) -> Tensor:
        """Depth [count] of each bin's middle."""
        return self.near + (torch.arange(self.count) + 0.5) * self.step

    def index(self, depth: Tensor) -> Tensor:
        """Bin of each depth, -1 where it lies outside the bins."""
        index = torch.floor((depth - self.near) / self.step).long()
        return torch.where((index >= 0) & (index < self.count), index, -1)


@dataclass(frozen=True)
class Grid:
    """A square bird's-eye grid of `size` x `size` cells over +-`extent` metres."""

    size: int = 32
    extent: float = 10.0

    def __post_init__(self) -> None:
        if not (self.size >= 1 and self.extent > 0.0):
            raise ValueError(f"a grid needs a size of 1 or more and an extent above 0, got {self}")

    def centers(self) -> NDArray[np.float64]:
        """Cell centres [size * size, 2] as (x forward, y left), row by row."""
        axis = self.extent - (np.arange(self.size) + 0.5) * (2.0 * self.extent / self.size)
        x, y = np.meshgrid(axis, axis, indexing="ij")
        return np.stack([x.ravel(), y.ravel()], axis=1)


def project(
    camera: CameraSpec, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels [P, 2] and depths [P] of vehicle-frame points [P, 3] in a camera."""
    in_camera = (points - np.asarray(camera.position)) @ camera.rotation()
    depth = in_camera[:, 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    pixels = in_camera[:, :2] / safe[:, None] * camera.focal_length
    return pixels + np.array([camera.width / 2.0, camera.height / 2.0]), depth


def in_frame(points: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Points [P, 2] in the frame of each pose [B, 3] (x, y, yaw): along and to its left, [B, P]."""
    cos, sin = pose[:, 2:].cos(), pose[:, 2:].sin()  # [B, 1]
    dx = points[:, 0] - pose[:, :1]  # [P] - [B, 1] -> [B, P]
    dy = points[:, 1] - pose[:, 1:2]
    return cos * dx + sin * dy, cos * dy - sin * dx


class InPicture(NamedTuple):
    """Points in a camera: places [P, 2], -1 to 1 over the picture, depth [P], whether seen [P]."""

    places: NDArray[np.float64]
    depth: NDArray[np.float64]
    seen: NDArray[np.bool_]


def in_picture(camera: CameraSpec, points: NDArray[np.float64]) -> InPicture:
    """Where vehicle-frame points [P, 3] are in a camera's picture."""
    pixels, depth = project(camera, points)
    places = 2.0 * pixels / np.array([camera.width, camera.height]) - 1.0
    return InPicture(places, depth, (depth > 0.1) & (np.abs(places).max(axis=1) < 1.0))


class DepthWeightedSampling(nn.Module):
    """Features [B, C, F, h, w] and depth probabilities [B, C, D, h, w] -> [B, out, G, G].

    For every cell and height the point (x, y, z) is projected into the camera that sees it nearest
    to its centre. There the features are sampled bilinearly and multiplied by the probability of
    the point's own depth, which is kept as one more channel: at z = 0 it says "free ground seen
    here", above it "a surface stands here". `stride`: pixels a side of a feature.
    """

    order: Tensor

    def __init__(
        self,
        cameras: Sequence[CameraSpec],
        feature_channels: int,
        bins: DepthBins,
        grid: Grid,
        stride: int = STRIDE,
        heights: Sequence[float] = (0.0, 0.6),
    ) -> None:
        super().__init__()
        self.grid, self.heights = grid, tuple(heights)
        self.out_channels = len(self.heights) * (feature_channels + 1)
        cells = grid.centers()
        points = np.concatenate(
            [np.column_stack([cells, np.full(len(cells), height)]) for height in heights]
        )
        best, coordinates = _best_views(cameras, points, bins)
        # Where no camera looks, the row behind the last one is read: a zero.
        order = np.full(len(points), int((best >= 0).sum()))
        self.samplers = nn.ModuleList()
        offset = 0
        for index, camera in enumerate(cameras):
            chosen = np.flatnonzero(best == index)
            order[chosen] = offset + np.arange(len(chosen))
            offset += len(chosen)
            places = torch.tensor(coordinates[chosen], dtype=torch.float32)  # [P, 3]: u, v, depth
            self.register_buffer(f"places_{index}", places, persistent=False)
            size = (camera.height // stride, camera.width // stride)
            self.samplers.append(bilinear_sampler(places[:, :2], *size))
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, features: Tensor, depth: Tensor) -> Tensor:
        batch = features.shape[0]
        sampled = []
        for camera, sampler in enumerate(self.samplers):
            seen = sampler(features[:, camera])  # [B, P, F]
            places: Tensor = getattr(self, f"places_{camera}")
            solid = places[None, :, None, None, :].expand(batch, -1, -1, -1, -1)  # [B, P, 1, 1, 3]
            chance = functional.grid_sample(
                depth[:, camera, None], solid, align_corners=False
            )  # [B, 1, P, 1, 1]
            chance = chance[:, 0, :, :, 0]  # [B, P, 1]
            sampled.append(torch.cat([seen * chance, chance], dim=2))  # [B, P, F + 1]
        nothing = sampled[0].new_zeros(batch, 1, sampled[0].shape[2])
        rows = torch.cat([*sampled, nothing], dim=1)  # [B, sum P + 1, F + 1]
        size, heights = self.grid.size, len(self.heights)
        cells = rows.index_select(1, self.order).unflatten(1, (heights, size, size))
        # [B, heights, G, G, F + 1] -> [B, (F + 1) * heights, G, G], channels-last in memory.
        # Channels: each feature at all heights, then the chance at all heights.
        return cells.permute(0, 2, 3, 4, 1).flatten(3).permute(0, 3, 1, 2)


# Pixels of a feature map up to which a product with all of them is faster than gathering four.
_PRODUCT_PIXELS = 512


def bilinear_sampler(places: Tensor, height: int, width: int) -> nn.Module:
    """Module from features [B, F, height, width] to those at places [P, 2] of (u, v) in [-1, 1].

    It gives [B, P, F]; as in `grid_sample` without aligned corners, outside there are zeros.
    """
    if height * width > _PRODUCT_PIXELS:
        return GatheredSampling(places)
    return ProductSampling(places, height, width)


class ProductSampling(nn.Module):
    """Bilinear sampling as a matrix product, four numbers a row and else zeros.

    The places never change; on a CPU that takes half of the time of gathering, forwards and
    backwards, as long as the images are small.
    """

    weights: Tensor

    def __init__(self, places: Tensor, height: int, width: int) -> None:
        super().__init__()
        u = ((places[:, 0] + 1.0) * width - 1.0) / 2.0
        v = ((places[:, 1] + 1.0) * height - 1.0) / 2.0
        across = (1.0 - (u[:, None] - torch.arange(width)).abs()).clamp(min=0.0)  # [P, w]
        down = (1.0 - (v[:, None] - torch.arange(height)).abs()).clamp(min=0.0)  # [P, h]
        weights = (down[:, :, None] * across[:, None, :]).flatten(1)  # [P, h * w]
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        # [B, F, h, w] -> [B, h * w, F]; free where the memory is channels-last
        return self.weights @ features.permute(0, 2, 3, 1).flatten(1, 2)


class GatheredSampling(nn.Module):
    """Bilinear sampling that gathers each place's four pixels."""

    places: Tensor

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places, persistent=False)  # [P, 2]

    def forward(self, features: Tensor) -> Tensor:
        flat = self.places[None, :, None].expand(len(features), -1, -1, -1)  # [B, P, 1, 2]
        seen = functional.grid_sample(features, flat, align_corners=False)  # [B, F, P, 1]
        return seen[..., 0].transpose(1, 2)


def _best_views(
    cameras: Sequence[CameraSpec], points: NDArray[np.float64], bins: DepthBins
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each point the camera that sees it best (-1: none), and where.

    Coordinates [P, 3] are (u, v, depth), each in [-1, 1] over image and depth bins, as
    `grid_sample` takes them.
    """
    best = np.full(len(points), -1)
    centrality = np.full(len(points), np.inf)
    coordinates = np.zeros((len(points), 3))
    for index, camera in enumerate(cameras):
        view = in_picture(camera, points)
        depth = 2.0 * (view.depth - bins.near) / (bins.far - bins.near) - 1.0
        scaled = np.column_stack([view.places, depth])
        reach = np.abs(view.places).max(axis=1)
        better = view.seen & (reach < centrality)
        best[better], centrality[better], coordinates[better] = index, reach[better], scaled[better]
    return best, coordinates


class LiftSplat(nn.Module):
    """The same mapping by lifting each pixel to all depths and summing what falls into a cell."""

    cell: Tensor

    def __init__(
        self, cameras: Sequence[CameraSpec], feature_channels: int, bins: DepthBins, grid: Grid
    ) -> None:
        super().__init__()
        self.grid, self.out_channels = grid, feature_channels
        cells = np.concatenate([_cell_of_frustum(camera, bins, grid) for camera in cameras])
        self.register_buffer("cell", torch.tensor(cells), persistent=False)  # [C * D * h * w]

    def forward(self, features: Tensor, depth: Tensor) -> Tensor:
        batch, _, channels = features.shape[:3]
        # [B, C, F, 1, h, w] * [B, C, 1, D, h, w] -> [B, C, F, D, h, w] -> [B, F, C * D * h * w]
        lifted = (features.unsqueeze(3) * depth.unsqueeze(2)).transpose(1, 2).flatten(2)
        cells = lifted.new_zeros(batch, channels, self.grid.size**2 + 1)
        cells.index_add_(2, self.cell, lifted)
        # The last cell gathered everything outside the grid: [B, F, G * G] -> [B, F, G, G]
        return cells[:, :, :-1].reshape(batch, channels, self.grid.size, self.grid.size)


def _cell_of_frustum(camera: CameraSpec, bins: DepthBins, grid: Grid) -> NDArray[np.int64]:
    """Cell [D * h * w] that each depth bin of each feature pixel falls into; G * G outside."""
    rays = pixel_rays(camera)  # [h, w, 3]
    depth = bins.centers().numpy()[:, None, None, None]  # [D, 1, 1, 1]
    points = (rays * depth).reshape(-1, 3) + np.asarray(camera.position)
    cell = 2.0 * grid.extent / grid.size
    row = np.floor((grid.extent - points[:, 0]) / cell).astype(int)
    column = np.floor((grid.extent - points[:, 1]) / cell).astype(int)
    inside = (row >= 0) & (row < grid.size) & (column >= 0) & (column < grid.size)
    return np.where(inside, row * grid.size + column, grid.size**2)


def pixel_rays(camera: CameraSpec, stride: int = STRIDE) -> NDArray[np.float64]:
    """Ray [h, w, 3] in the vehicle frame through each feature pixel, of unit optical depth."""
    v, u = np.meshgrid(
        (np.arange(camera.height // stride) + 0.5) * stride,
        (np.arange(camera.width // stride) + 0.5) * stride,
        indexing="ij",
    )
    x = (u - camera.width / 2.0) / camera.focal_length
    y = (v - camera.height / 2.0) / camera.focal_length
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ camera.rotation().T


def grid_in_camera(camera: CameraSpec, values: Tensor, depth: Tensor, extent: float) -> Tensor:
    """Bird's-eye values [G, G] as a camera sees them, [h, w].

    Each feature pixel takes the value of the cell below the point that it sees at its depth [h, w]
    in metres; what lies far from the ground, such as the sky, or outside the grid gives 0.
    """
    rays = pixel_rays(camera, camera.height // depth.shape[0])
    points = torch.tensor(rays) * depth.double().unsqueeze(2)  # [h, w, 3]
    points = points + torch.tensor(camera.position, dtype=torch.double)
    # grid_sample's axes: first the column (y = +extent is -1), then the row (x = +extent).
    place = torch.stack([-points[..., 1] / extent, -points[..., 0] / extent], dim=2)
    sampled = functional.grid_sample(
        values[None, None], place[None].to(values.dtype), align_corners=False
    )
    near_ground = (points[..., 2] > -1.0) & (points[..., 2] < 2.5)
    return sampled[0, 0] * near_ground
