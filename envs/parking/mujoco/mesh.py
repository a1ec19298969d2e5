"""Low-poly meshes: flat-shaded quads and polygons, in plain colours or with a picture on them.

All pictures share one small atlas texture; plain colours need none and are drawn faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

ATLAS_SIZE = 256
# Plain colours by name, 8-bit RGB.
PLAIN = {
    "paint": (255, 255, 255),
    "glass": (38, 46, 54),
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


@dataclass(frozen=True)
class Triangles:
    """Corners of triangles, three a triangle: what a mesh becomes for drawing.

    positions, normals [N, 3]; colours [N, 3] in [0, 1]; tinted [N]: takes the object's own colour;
    coordinates [N, 2] in the atlas.
    """

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    colours: NDArray[np.float64]
    tinted: NDArray[np.bool_]
    coordinates: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)


# One corner: position, normal, colour, whether tinted, coordinates.
Corner = tuple[Point, Point, tuple[float, float, float], bool, tuple[float, float]]


class Mesh:
    """A growing list of flat polygons. Faces are seen from the side they wind anticlockwise on."""

    def __init__(self) -> None:
        self._plain: list[Corner] = []
        self._patterned: list[Corner] = []

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        """Add a convex planar polygon in a plain colour; `paint` takes the object's own."""
        red, green, blue = PLAIN[colour]
        shade = red / 255.0, green / 255.0, blue / 255.0
        nowhere = [(0.0, 0.0)] * len(points)
        self._plain.extend(_fan(points, shade, colour == "paint", nowhere))

    def patterned(self, points: Sequence[Point], region: str) -> None:
        """Add a quad that shows a whole region; its first point is the picture's lower left.

        The object's own colour tints it.
        """
        left, top, width, height = REGIONS[region]
        # Half a pixel inside, so that its neighbour does not show.
        x0, x1 = (left + 0.5) / ATLAS_SIZE, (left + width - 0.5) / ATLAS_SIZE
        y0, y1 = (top + 0.5) / ATLAS_SIZE, (top + height - 0.5) / ATLAS_SIZE
        corners = [(x0, y1), (x1, y1), (x1, y0), (x0, y0)]
        self._patterned.extend(_fan(points, (1.0, 1.0, 1.0), True, corners))

    def whole(self, low: tuple[float, float], high: tuple[float, float], cell: float) -> None:
        """Add a level rectangle at height 0 that shows a whole texture, (0, 0) at its low corner.

        It is cut into cells, because haze is worked out at corners only.
        """
        for (x0, x1), (y0, y1) in _cells(low, high, cell):
            points = [(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)]
            places = [
                ((x - low[0]) / (high[0] - low[0]), (y - low[1]) / (high[1] - low[1]))
                for x, y, _ in points
            ]
            self._patterned.extend(_fan(points, (1.0, 1.0, 1.0), True, places))

    def level(
        self, low: tuple[float, float], high: tuple[float, float], cell: float, colour: str
    ) -> None:
        """Add a level rectangle at height 0 in a plain colour, cut into cells likewise."""
        for (x0, x1), (y0, y1) in _cells(low, high, cell):
            self.polygon([(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)], colour)

    @property
    def plain_triangles(self) -> Triangles:
        """The polygons in plain colours."""
        return _triangles(self._plain)

    @property
    def patterned_triangles(self) -> Triangles:
        """The polygons that show a texture."""
        return _triangles(self._patterned)

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


def _cells(
    low: tuple[float, float], high: tuple[float, float], cell: float
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """A rectangle cut into cells of about a size: the x and y range of each."""
    edges = [
        np.linspace(start, end, max(1, round((end - start) / cell)) + 1).tolist()
        for start, end in zip(low, high, strict=True)
    ]
    yield from itertools.product(itertools.pairwise(edges[0]), itertools.pairwise(edges[1]))


def _fan(
    points: Sequence[Point],
    colour: tuple[float, float, float],
    tinted: bool,
    coordinates: Sequence[tuple[float, float]],
) -> list[Corner]:
    """A convex polygon as the corners of triangles."""
    a, b, c = (np.array(point) for point in points[:3])
    normal = np.cross(b - a, c - a)
    normal = normal / np.linalg.norm(normal)
    facing = float(normal[0]), float(normal[1]), float(normal[2])
    corners = [
        (point, facing, colour, tinted, place)
        for point, place in zip(points, coordinates, strict=True)
    ]
    return [
        corner
        for index in range(1, len(corners) - 1)
        for corner in (corners[0], corners[index], corners[index + 1])
    ]


def _triangles(corners: list[Corner]) -> Triangles:
    def column(index: int, width: int) -> NDArray[np.float64]:
        return np.array([corner[index] for corner in corners], float).reshape(-1, width)

    return Triangles(
        positions=column(0, 3),
        normals=column(1, 3),
        colours=column(2, 3),
        tinted=np.array([corner[3] for corner in corners], bool),
        coordinates=column(4, 2),
    )
