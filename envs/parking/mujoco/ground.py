"""Ground textures: materials made from noise, worn slot lines, light and shadows baked in.

A material takes a tenth of a second to make, so each (material, variant) is made once a process.
Lines, light and shadows belong to a scenario and are laid over the material at its first picture;
with them baked, shadows cost nothing in any later picture.

Images: row 0 is the lot's lowest y, column 0 its lowest x.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.lot import ROWS, Lot

PIXELS_PER_METRE = 25
LINE_WIDTH = 0.12
# Pixels of a pre-made sheet: the lots of both families of scenarios fit.
SHEET_SIZE = (1124, 1540)

Image = NDArray[np.uint8]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """Recipe of a ground: base colour (8-bit RGB), spread of its grain and blotches, and wear.

    tint: spread of a variant's own colour about the base, as a share of each channel.
    """

    colour: tuple[float, float, float]
    grain: float
    blotches: float
    cracks: int
    patches: int
    stains: int
    tint: float = 0.0


MATERIALS = {
    "asphalt": Material((112, 111, 110), 9.0, 6.0, 14, 8, 50),
    "old_asphalt": Material((142, 138, 131), 10.0, 9.0, 40, 14, 45),
    "fresh_asphalt": Material((76, 76, 78), 8.0, 4.0, 3, 2, 20),
    "concrete": Material((190, 186, 176), 5.0, 8.0, 12, 5, 35),
    "brick": Material((172, 116, 94), 7.0, 7.0, 0, 4, 30),
    "wet_asphalt": Material((72, 75, 82), 6.0, 4.0, 12, 6, 10),
    # Of collections in wide looks.
    "gravel": Material((138, 130, 118), 30.0, 10.0, 0, 3, 15, 0.15),
    "sand": Material((204, 184, 140), 9.0, 12.0, 4, 3, 25, 0.15),
    "earth": Material((104, 82, 60), 15.0, 16.0, 8, 4, 40, 0.2),
    "green_paint": Material((70, 122, 84), 6.0, 8.0, 12, 6, 35, 0.25),
    "blue_paint": Material((66, 92, 150), 6.0, 8.0, 12, 6, 35, 0.25),
    "pavers": Material((150, 140, 98), 8.0, 6.0, 0, 3, 30, 0.25),
    "tiles": Material((96, 112, 118), 5.0, 5.0, 4, 3, 30, 0.25),
    "patchwork": Material((124, 118, 112), 9.0, 9.0, 30, 90, 90, 0.2),
}


def texture_size(lot: Lot) -> tuple[int, int]:
    """Height and width in pixels of a lot's ground texture; the width a multiple of four."""
    height = round(2.0 * lot.half_width * PIXELS_PER_METRE)
    width = round(2.0 * lot.half_length * PIXELS_PER_METRE)
    return height - height % 4, width - width % 4


def to_pixels(lot: Lot, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [N, 2] of the lot frame (x, y) as texture coordinates [N, 2] (column, row)."""
    height, width = texture_size(lot)
    origin = np.array([lot.half_length, lot.half_width])
    scale = np.array([width / (2.0 * lot.half_length), height / (2.0 * lot.half_width)])
    return (points + origin) * scale


def bare_ground(material: str, variant: int, height: int, width: int) -> Image:
    """A material without lines, [height, width, 3]; equal arguments give equal images.

    Raises ValueError for a material that is not in `MATERIALS`.
    """
    sheet = _sheet(material, variant)
    extra = max(height - sheet.shape[0], 0), max(width - sheet.shape[1], 0)
    if any(extra):
        grown = cv2.copyMakeBorder(sheet, 0, extra[0], 0, extra[1], cv2.BORDER_REFLECT)
        sheet = np.asarray(grown, np.uint8)
    return sheet[:height, :width].copy()


@functools.lru_cache(maxsize=48)
def _sheet(material: str, variant: int) -> Image:
    """One sheet of a material of `SHEET_SIZE`, as large as the usual lots.

    Raises ValueError for a material that is not in `MATERIALS`.
    """
    if material not in MATERIALS:
        raise ValueError(f"unknown ground {material!r}; the grounds are {', '.join(MATERIALS)}")
    recipe = MATERIALS[material]
    height, width = SHEET_SIZE
    random = np.random.default_rng([zlib.crc32(material.encode()), variant])
    shade = recipe.grain * _noise(random, height, width, 1)
    shade += 0.6 * recipe.grain * _noise(random, height, width, 3)
    shade += recipe.blotches * _noise(random, height, width, 40)
    shade += recipe.blotches * _noise(random, height, width, 170)
    colour = np.array(recipe.colour, np.float32)
    if recipe.tint > 0.0:  # drawn only where asked for, so that other grounds stay as they are
        colour = colour * (1.0 + recipe.tint * random.uniform(-1.0, 1.0, 3).astype(np.float32))
    image = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        image[..., channel] = colour[channel] + shade
    if material in PATTERNS:
        PATTERNS[material](image, random)
    _patches(image, random, recipe)
    _stains(image, random, recipe)
    _cracks(image, random, recipe)
    finished = np.clip(image, 0, 255).astype(np.uint8)
    finished.setflags(write=False)
    return finished


def _noise(random: np.random.Generator, height: int, width: int, scale: int) -> Field:
    """Smooth unit noise whose features measure `scale` pixels."""
    rows, columns = height // scale + 2, width // scale + 2
    small = random.standard_normal((rows, columns), dtype=np.float32)
    if scale == 1:
        return small[:height, :width]
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32)


def _patches(image: Field, random: np.random.Generator, recipe: Material) -> None:
    """Repaired rectangles, darker or lighter, with a seam of tar."""
    height, width = image.shape[:2]
    for _ in range(recipe.patches):
        x, y = int(random.integers(width)), int(random.integers(height))
        w, h = (int(v) for v in random.integers(25, 130, 2))
        factor = float(random.choice((0.8, 0.87, 1.1)))
        image[y : y + h, x : x + w] *= factor
        cv2.rectangle(image, (x, y), (x + w, y + h), tuple(0.55 * c for c in recipe.colour), 1)


def _stains(image: Field, random: np.random.Generator, recipe: Material) -> None:
    """Soft dark blots of oil."""
    height, width = image.shape[:2]
    factor = np.ones((height, width), np.float32)
    for _ in range(recipe.stains):
        center = int(random.integers(width)), int(random.integers(height))
        axes = tuple(int(v) for v in random.integers(4, 22, 2))
        angle = float(random.uniform(0.0, 180.0))
        depth = float(random.uniform(0.6, 0.88))
        cv2.ellipse(factor, center, axes, angle, 0.0, 360.0, depth, -1)
    image *= cv2.GaussianBlur(factor, (0, 0), 3.0)[..., None]


def _cracks(image: Field, random: np.random.Generator, recipe: Material) -> None:
    """Dark random walks; every third one was sealed with a broad line of tar."""
    height, width = image.shape[:2]
    dark = tuple(0.5 * channel for channel in recipe.colour)
    for index in range(recipe.cracks):
        point = random.uniform((0.0, 0.0), (width, height))
        heading = float(random.uniform(0.0, 2.0 * np.pi))
        points = [point]
        for _ in range(int(random.integers(10, 45))):
            heading += float(random.normal(0.0, 0.45))
            point = point + 9.0 * np.array([np.cos(heading), np.sin(heading)])
            points.append(point)
        line = np.array(points).astype(np.int32)
        cv2.polylines(image, [line], False, dark, 2 if index % 3 == 0 else 1, cv2.LINE_AA)


def _concrete_joints(image: Field, random: np.random.Generator) -> None:
    """Slabs of 4 m, each of a slightly different shade, with dark joints."""
    side = 4 * PIXELS_PER_METRE
    _squares(image, random, side, 0.035)
    image[::side] *= 0.6
    image[:, ::side] *= 0.6


def _brick_bond(image: Field, random: np.random.Generator) -> None:
    """Paving bricks of 0.4 m x 0.2 m in a running bond, each with its own shade."""
    height, width = image.shape[:2]
    tall, long = 5, 10
    rows, columns = height // tall + 1, width // long + 2
    shades = random.normal(1.0, 0.11, (rows, columns)).astype(np.float32)
    tiles = np.kron(shades, np.ones((tall, long), np.float32))
    tiles[::tall] *= 0.72
    tiles[:, ::long] *= 0.72
    for row in range(1, rows, 2):
        band = tiles[row * tall : (row + 1) * tall]
        band[:] = np.roll(band, long // 2, axis=1)
    image *= tiles[:height, :width, None]


def _pavers(image: Field, random: np.random.Generator) -> None:
    """Square stones of 1 m, each of its own shade, without a joint that could be seen."""
    _squares(image, random, PIXELS_PER_METRE, 0.16)


def _tiles(image: Field, random: np.random.Generator) -> None:
    """Square tiles of 2 m in two shades by turns."""
    height, width = image.shape[:2]
    side = 2 * PIXELS_PER_METRE
    rows, columns = np.indices((height // side + 1, width // side + 1))
    _shade_squares(image, np.where((rows + columns) % 2, 0.85, 1.15), side)


def _squares(image: Field, random: np.random.Generator, side: int, spread: float) -> None:
    height, width = image.shape[:2]
    _shade_squares(image, random.normal(1.0, spread, (height // side + 1, width // side + 1)), side)


def _shade_squares(image: Field, shades: NDArray[np.float64], side: int) -> None:
    """Scale each square of `side` pixels by its shade [rows, columns]."""
    height, width = image.shape[:2]
    image *= np.kron(shades, np.ones((side, side)))[:height, :width, None].astype(np.float32)


def _puddles(image: Field, random: np.random.Generator) -> None:
    """Smooth bluish sheets of water that mirror the sky."""
    height, width = image.shape[:2]
    depth = _noise(random, height, width, 90) + 0.4 * _noise(random, height, width, 30)
    water = cv2.GaussianBlur(np.clip((depth - 0.7) * 4.0, 0.0, 0.8), (0, 0), 2.0)[..., None]
    image *= 1.0 - water
    image += water * np.array((126.0, 136.0, 150.0), np.float32)


PATTERNS: dict[str, Callable[[Field, np.random.Generator], None]] = {
    "concrete": _concrete_joints,
    "brick": _brick_bond,
    "wet_asphalt": _puddles,
    "pavers": _pavers,
    "tiles": _tiles,
}


@dataclass(frozen=True)
class LinePaint:
    """Where a lot's lines are: flat pixel indices and, per index, how well paint holds there."""

    indices: NDArray[np.intp]
    hold: Field


@functools.lru_cache(maxsize=4)
def line_paint(lot: Lot) -> LinePaint:
    """The slot lines of a lot; they wear in blotches and scratches that are the lot's own."""
    height, width = texture_size(lot)
    mask = np.zeros((height, width), np.uint8)
    half = lot.slot_length / 2.0
    for row in range(ROWS):
        y = lot.row_y(row)
        for column in range(lot.columns + 1):
            x = (column - lot.columns / 2.0) * lot.slot_width
            _paint_rectangle(mask, lot, x, y, LINE_WIDTH, 2.0 * half)
    for x in np.arange(-lot.half_length + 7.0, lot.half_length - 6.0, 16.0):
        _paint_arrow(mask, lot, float(x))
    random = np.random.default_rng(5)
    wear = 0.6 * _noise(random, height, width, 30) + 0.6 * _noise(random, height, width, 6)
    wear += 0.5 * _noise(random, height, width, 2)
    indices = np.flatnonzero(mask)
    coverage = mask.reshape(-1)[indices].astype(np.float32) / 255.0
    # A standard normal's share below t rises from 0 to 1: `hold` is the wear that paint survives.
    hold = 1.0 / (1.0 + np.exp(-1.7 * wear.reshape(-1)[indices]))
    return LinePaint(indices, np.stack([coverage, hold.astype(np.float32)]))


def _paint_rectangle(
    mask: Image, lot: Lot, x: float, y: float, across: float, along: float
) -> None:
    corners = np.array(
        [
            [x + i * across / 2.0, y + j * along / 2.0]
            for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
    )
    _fill(mask, to_pixels(lot, corners))


def _paint_arrow(mask: Image, lot: Lot, x: float) -> None:
    """An arrow of 2 m that points along the aisle."""
    shaft = [[x - 1.0, -0.08], [x + 0.3, -0.08], [x + 0.3, 0.08], [x - 1.0, 0.08]]
    head = [[x + 0.3, -0.3], [x + 1.0, 0.0], [x + 0.3, 0.3]]
    for outline in (shaft, head):
        _fill(mask, to_pixels(lot, np.array(outline)))


def _fill(mask: Image, points: NDArray[np.float64]) -> None:
    # Sixteenths of a pixel; OpenCV's pixel centres lie at whole numbers, ours at halves.
    fixed = np.round((points - 0.5) * 16.0).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)


def paint_lines(image: Image, lot: Lot, colour: tuple[float, float, float], wear: float) -> None:
    """Paint the slot lines into a ground image, in place; `wear` 0 is fresh, 1 is gone."""
    paint = line_paint(lot)
    coverage, hold = paint.hold
    alpha = coverage * np.clip((hold - wear) * 5.0 + 0.75, 0.12 * (1.0 - wear), 0.95)
    flat = image.reshape(-1, 3)
    ground = flat[paint.indices].astype(np.float32)
    target = np.array(colour, np.float32) * 235.0
    ground += alpha[:, None] * (target - ground)
    flat[paint.indices] = ground.astype(np.uint8)
