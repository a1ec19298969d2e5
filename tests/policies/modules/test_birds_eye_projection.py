from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helmsight.envs.parking.vehicle import CAMERA_RIGS, parking_embodiment
from helmsight.envs.spec import CameraSpec
from helmsight.policies.modules.birds_eye import (
    DepthBins,
    DepthWeightedSampling,
    GatheredSampling,
    Grid,
    LiftSplat,
    ProductSampling,
    bilinear_sampler,
    project,
)
from helmsight.policies.modules.image_encoder import STRIDE

FRONT = CAMERA_RIGS["surround4"][0]
CAMERAS = [camera for rig in CAMERA_RIGS.values() for camera in rig]
# Fine enough that neighbouring cells lie several feature pixels and depth bins apart.
FINE = parking_embodiment("surround4", image_size=1024).cameras
BINS, GRID = DepthBins(0.5, 12.5, 60), Grid(32, 10.0)
FEATURES, SIZE = 3, 1024 // STRIDE


def seen_by(camera: CameraSpec, x: float, y: float, z: float) -> tuple[float, float, float]:
    pixels, depth = project(camera, np.array([[x, y, z]]))
    return float(pixels[0, 0]), float(pixels[0, 1]), float(depth[0])


def test_a_point_before_the_front_camera_lies_in_the_middle_of_its_image() -> None:
    u, v, depth = seen_by(FRONT, FRONT.position[0] + 5.0, 0.0, FRONT.position[2])
    assert (u, v, depth) == pytest.approx((64.0, 64.0, 5.0))


def test_left_is_left_and_up_is_up_in_the_front_image() -> None:
    x, z = FRONT.position[0] + 5.0, FRONT.position[2]
    assert seen_by(FRONT, x, 1.0, z)[0] < 64.0 < seen_by(FRONT, x, -1.0, z)[0]
    assert seen_by(FRONT, x, 0.0, z + 1.0)[1] < 64.0 < seen_by(FRONT, x, 0.0, z - 1.0)[1]


def test_the_field_of_view_ends_at_the_image_border() -> None:
    x, z = FRONT.position[0] + 5.0, FRONT.position[2]
    edge = 5.0 * math.tan(FRONT.horizontal_fov / 2.0)
    assert seen_by(FRONT, x, edge, z)[0] == pytest.approx(0.0)
    assert seen_by(FRONT, x, -edge, z)[0] == pytest.approx(128.0)


def test_the_rear_camera_has_the_cars_left_on_its_right() -> None:
    rear = CAMERA_RIGS["surround4"][3]
    u, _, depth = seen_by(rear, rear.position[0] - 5.0, 1.0, 0.0)
    assert depth > 0.0 and u > 64.0


@given(
    camera=st.sampled_from(CAMERAS),
    u=st.floats(0.0, 128.0),
    v=st.floats(0.0, 128.0),
    depth=st.floats(0.2, 50.0),
)
@settings(deadline=None)
def test_a_pixel_with_its_depth_projects_back_onto_itself(
    camera: CameraSpec, u: float, v: float, depth: float
) -> None:
    ray = np.linalg.inv(camera.intrinsics()) @ np.array([u, v, 1.0])
    point = camera.camera_to_vehicle() @ np.array([*(ray * depth), 1.0])
    assert seen_by(camera, *point[:3]) == pytest.approx((u, v, depth), abs=1e-6)


def test_depth_bins_hold_their_centres_and_nothing_outside() -> None:
    bins = DepthBins(0.5, 12.5, 24)
    assert bins.index(bins.centers()).tolist() == list(range(24))
    assert bins.index(torch.tensor([0.49, 0.5, 12.49, 12.5, 65.535])).tolist() == [
        -1,
        0,
        23,
        -1,
        -1,
    ]


def test_the_grid_begins_at_the_front_left() -> None:
    centers = Grid(4, 10.0).centers()
    assert centers[0].tolist() == [7.5, 7.5]
    assert centers[1].tolist() == [7.5, 2.5]
    assert centers[-1].tolist() == [-7.5, -7.5]


def painted(
    camera: int, u: float, v: float, depth: float
) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.float64]]:
    """Features and depth mass at the 2 x 2 feature pixels and 2 bins about a point."""
    value = np.array([1.0, -2.0, 3.0])
    features = torch.zeros(1, len(FINE), FEATURES, SIZE, SIZE)
    mass = torch.zeros(1, len(FINE), BINS.count, SIZE, SIZE)
    column, row = math.floor(u / STRIDE - 0.5), math.floor(v / STRIDE - 0.5)
    bin_ = math.floor((depth - BINS.near) / BINS.step - 0.5)
    rows, columns = slice(row, row + 2), slice(column, column + 2)
    features[0, camera, :, rows, columns] = torch.tensor(value).view(-1, 1, 1)
    mass[0, camera, bin_ : bin_ + 2, rows, columns] = 1.0
    return features, mass, value


def by_height(grid: torch.Tensor) -> torch.Tensor:
    """Features and chance by height and cell, [F + 1, heights, G * G]: the ground comes first."""
    return grid[0].flatten(1).unflatten(0, (FEATURES + 1, 2))


def well_inside(u: float, v: float, depth: float) -> bool:
    return all(1.5 * STRIDE < entry < 1024 - 1.5 * STRIDE for entry in (u, v)) and (
        BINS.near + BINS.step < depth < BINS.far - BINS.step
    )


@pytest.fixture(scope="module")
def sampling() -> DepthWeightedSampling:
    return DepthWeightedSampling(FINE, FEATURES, BINS, GRID)


@given(cell=st.integers(0, GRID.size**2 - 1))
@settings(max_examples=30, deadline=None)
def test_sampling_puts_a_painted_point_into_its_cell_and_nowhere_else(
    sampling: DepthWeightedSampling, cell: int
) -> None:
    x, y = GRID.centers()[cell]
    views = [seen_by(camera, x, y, 0.0) for camera in FINE]
    # The camera nearest to whose middle the point lies is the one that is asked.
    reach = [
        max(abs(u - 512.0), abs(v - 512.0)) if depth > 0.1 else math.inf for u, v, depth in views
    ]
    camera = int(np.argmin(reach))
    assume(well_inside(*views[camera]))
    features, mass, value = painted(camera, *views[camera])
    grid = sampling(features, mass)
    assert grid.shape == (1, 2 * (FEATURES + 1), GRID.size, GRID.size)
    found = by_height(grid).clone()
    expected = torch.tensor([*value, 1.0], dtype=found.dtype)
    torch.testing.assert_close(found[:, 0, cell], expected, rtol=1e-4, atol=1e-4)
    found[:, 0, cell] = 0.0
    assert found.abs().max().item() < 1e-4


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    count=st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_a_product_samples_what_gathering_does_inside_and_outside_of_the_image(
    seed: int, height: int, width: int, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    places = 2.6 * torch.rand(count, 2, generator=generator) - 1.3
    features = torch.randn(3, 5, height, width, generator=generator)
    product = ProductSampling(places, height, width)(features)
    assert product.shape == (3, count, 5)
    torch.testing.assert_close(product, GatheredSampling(places)(features), rtol=1e-4, atol=1e-4)


def test_large_images_are_gathered_from_and_small_ones_multiplied() -> None:
    places = torch.zeros(4, 2)
    assert isinstance(bilinear_sampler(places, 16, 16), ProductSampling)
    assert isinstance(bilinear_sampler(places, 32, 32), GatheredSampling)


def test_sampling_reads_surfaces_above_the_ground_into_their_own_channels(
    sampling: DepthWeightedSampling,
) -> None:
    cell = 5 * GRID.size + 15
    x, y = GRID.centers()[cell]
    u, v, depth = seen_by(FINE[0], x, y, 0.6)
    features, mass, value = painted(0, u, v, depth)
    found = by_height(sampling(features, mass))
    assert found[:, 1, cell].tolist() == pytest.approx([*value, 1.0], abs=1e-4)
    assert found[:, 0].abs().max().item() < 1e-4


@given(row=st.integers(1, 11), column=st.integers(10, 21))
@settings(max_examples=20, deadline=None)
def test_lift_splat_finds_the_same_cell(lift_splat: LiftSplat, row: int, column: int) -> None:
    x, y = GRID.centers()[row * GRID.size + column]
    u, v, depth = seen_by(FINE[0], x, y, 0.0)
    assume(well_inside(u, v, depth))
    features = torch.zeros(1, 1, FEATURES, SIZE, SIZE)
    mass = torch.zeros(1, 1, BINS.count, SIZE, SIZE)
    pixel = int(v / STRIDE), int(u / STRIDE)
    features[0, 0, :, pixel[0], pixel[1]] = 2.0
    mass[0, 0, int((depth - BINS.near) / BINS.step), pixel[0], pixel[1]] = 0.5
    grid = lift_splat(features, mass)
    assert grid.shape == (1, FEATURES, GRID.size, GRID.size)
    expected = torch.zeros_like(grid)
    expected[0, :, row, column] = 1.0
    torch.testing.assert_close(grid, expected)


@pytest.fixture(scope="module")
def lift_splat() -> LiftSplat:
    return LiftSplat(FINE[:1], FEATURES, BINS, GRID)


def test_lift_splat_sums_what_falls_into_one_cell() -> None:
    module = LiftSplat([FRONT], 1, DepthBins(), Grid(2, 10.0))
    features = torch.ones(2, 1, 1, 16, 16)
    depth = torch.ones(2, 1, 24, 16, 16) / 24.0
    grid = module(features, depth)
    inside = int((module.cell < 4).sum())
    assert grid.sum(dim=(1, 2, 3)).tolist() == pytest.approx([inside / 24.0] * 2, rel=1e-4)
    assert grid[:, :, 1].abs().max().item() == 0.0  # nothing behind the front camera


@pytest.mark.parametrize("kind", (DepthWeightedSampling, LiftSplat))
def test_cells_that_no_camera_sees_are_zero(
    kind: type[DepthWeightedSampling] | type[LiftSplat],
) -> None:
    module = kind([FRONT], FEATURES, DepthBins(), GRID)
    grid = module(torch.ones(2, 1, FEATURES, 16, 16), torch.ones(2, 1, 24, 16, 16))
    behind = grid[:, :, GRID.size // 2 :]
    assert behind.abs().max().item() == 0.0
    assert grid.abs().max().item() > 0.0


@pytest.mark.parametrize(
    "make", (lambda: DepthBins(near=0.0), lambda: DepthBins(count=0), lambda: Grid(extent=0.0))
)
def test_impossible_bins_and_grids_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="got"):
        make()  # type: ignore[operator]
