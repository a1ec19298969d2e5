"""Low-poly meshes as MJCF text: flat-shaded quads and polygons that take colours from an atlas.

The atlas is one small texture: a row of plain colours and a few patterned regions. Anything that
shares it is drawn in one call, which is what makes a lot full of detail affordable.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

ATLAS_SIZE = 256
CELL = 16
# Plain colours by name, 8-bit RGB.
PLAIN = {
    "paint": (255, 255, 255),
    "glass": (38, 46, 54),
    "far_glass": (120, 134, 148),
    "tyre": (22, 22, 23),
    "rim": (150, 152, 155),
    "headlight": (245, 243, 225),
    "taillight": (190, 20, 18),
    "plate": (225, 222, 205),
    "grille": (30, 30, 32),
    "concrete": (172, 168, 160),
    "concrete_side": (148, 144, 137),
    "stop": (200, 196, 178),
    "post": (98, 102, 106),
    "lamp": (250, 240, 205),
    "grass": (86, 112, 58),
    "trunk": (84, 66, 48),
    "roof": (112, 96, 88),
}
# Patterned regions by name: left, top, width, height in pixels.
REGIONS = {
    "leaves": (0, 64, 64, 64),
    "kerb": (64, 64, 64, 64),
    "facade": (128, 128, 128, 128),
    "crown": (128, 64, 64, 64),
    "cardboard": (192, 64, 64, 64),
}
Point = tuple[float, float, float]


def atlas() -> NDArray[np.uint8]:
    """The atlas, [256, 256, 3]; the same at every call."""
    random = np.random.default_rng(7)
    image = np.full((ATLAS_SIZE, ATLAS_SIZE, 3), 128, np.uint8)
    for index, colour in enumerate(PLAIN.values()):
        image[:CELL, index * CELL : (index + 1) * CELL] = colour
    _fill(image, "leaves", _mottled(random, (64, 64), (58, 84, 40), 26.0))
    _fill(image, "crown", _mottled(random, (64, 64), (66, 92, 48), 30.0))
    _fill(image, "kerb", _mottled(random, (64, 64), (168, 164, 156), 8.0))
    _fill(image, "facade", _facade(random))
    _fill(image, "cardboard", _cardboard(random))
    return image


def _fill(image: NDArray[np.uint8], name: str, pattern: NDArray[np.uint8]) -> None:
    left, top, width, height = REGIONS[name]
    image[top : top + height, left : left + width] = pattern


def _mottled(
    random: np.random.Generator, size: tuple[int, int], colour: tuple[int, int, int], spread: float
) -> NDArray[np.uint8]:
    fine = random.standard_normal(size).astype(np.float32)
    coarse = cv2.resize(random.standard_normal((9, 9)).astype(np.float32), size[::-1])
    shade = spread * (0.5 * fine + 0.7 * coarse)
    return np.clip(np.array(colour) + shade[..., None], 0, 255).astype(np.uint8)


def _facade(random: np.random.Generator) -> NDArray[np.uint8]:
    """Two storeys of a building: plaster with rows of windows, 128 x 128."""
    image = _mottled(random, (128, 128), (186, 172, 150), 6.0)
    for top in (16, 74):
        for left in range(10, 128, 40):
            image[top : top + 34, left : left + 24] = (226, 222, 214)
            shade = int(random.integers(-12, 30))
            image[top + 2 : top + 32, left + 2 : left + 22] = (58 + shade, 70 + shade, 84 + shade)
            image[top + 2 : top + 32, left + 11 : left + 13] = (226, 222, 214)
    image[60:66] = (150, 138, 120)
    return image


def _cardboard(random: np.random.Generator) -> NDArray[np.uint8]:
    """White with the shades of a taped box, to be tinted by the box's colour."""
    image = _mottled(random, (64, 64), (236, 236, 236), 8.0)
    image[:, 28:36] = (196, 200, 206)
    image[[0, 1, 62, 63]] = 150
    image[:, [0, 1, 62, 63]] = 150
    image[40:52, 6:20] = (250, 250, 250)
    return image


class Mesh:
    """A growing list of flat polygons. Faces are seen from the side they wind anticlockwise on."""

    def __init__(self) -> None:
        self.vertices: list[Point] = []
        self.normals: list[Point] = []
        self.texture_coordinates: list[tuple[float, float]] = []
        self.faces: list[tuple[int, int, int]] = []

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        """Add a convex planar polygon in a plain colour."""
        column = list(PLAIN).index(colour)
        middle = ((column + 0.5) * CELL / ATLAS_SIZE, 0.5 * CELL / ATLAS_SIZE)
        self._add(points, [middle] * len(points))

    def patterned(self, points: Sequence[Point], region: str) -> None:
        """Add a quad that shows a whole region; its first point is the picture's lower left."""
        left, top, width, height = REGIONS[region]
        # Half a pixel inside, so that filtering does not bleed in the neighbour.
        x0, x1 = (left + 0.5) / ATLAS_SIZE, (left + width - 0.5) / ATLAS_SIZE
        y0, y1 = (top + 0.5) / ATLAS_SIZE, (top + height - 0.5) / ATLAS_SIZE
        self._add(points, [(x0, y1), (x1, y1), (x1, y0), (x0, y0)])

    def whole(self, points: Sequence[Point]) -> None:
        """Add a quad that shows a whole texture; its first point is texture coordinate (0, 0)."""
        self._add(points, [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])

    def block(
        self,
        low: Point,
        high: Point,
        side: str,
        top: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Add an upright box from corner to corner, without its bottom."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        sides = [
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
            [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
            [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
        ]
        lid = [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)]
        for quad in sides:
            if pattern is None:
                self.polygon(quad, side)
            else:
                self.patterned(quad, pattern)
        if pattern is None:
            self.polygon(lid, top or side)
        else:
            self.patterned(lid, pattern)

    def _add(self, points: Sequence[Point], coordinates: Sequence[tuple[float, float]]) -> None:
        first = len(self.vertices)
        a, b, c = (np.array(point) for point in points[:3])
        normal = np.cross(b - a, c - a)
        normal = normal / np.linalg.norm(normal)
        self.vertices.extend(points)
        self.normals.extend([(float(normal[0]), float(normal[1]), float(normal[2]))] * len(points))
        self.texture_coordinates.extend(coordinates)
        self.faces.extend(
            (first, first + index, first + index + 1) for index in range(1, len(points) - 1)
        )

    def mjcf(self, name: str, scale: Point = (1.0, 1.0, 1.0)) -> str:
        """The mesh as an MJCF asset."""
        # Shell inertia: open surfaces have no volume, and the compiler insists on a mass.
        return (
            f'<mesh name="{name}" scale="{_text([scale])}" inertia="shell" '
            f'vertex="{_text(self.vertices)}" '
            f'normal="{_text(self.normals)}" texcoord="{_text(self.texture_coordinates)}" '
            f'face="{_text(self.faces)}"/>'
        )


def _text(rows: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{value:.5g}" for row in rows for value in row)
