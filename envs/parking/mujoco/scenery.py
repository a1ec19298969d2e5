"""What the lot and its surroundings look like, the ground's markings aside: static meshes.

Furniture comes in chunks along x, so that a camera draws only the chunks it sees.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.furniture import POST_HEIGHT, POST_RADIUS, blocks
from helmsight.envs.parking.mujoco.mesh import Mesh

CHUNK_LENGTH = 8.0
SEGMENT_LENGTH = 3.1
MEADOW = 140.0


class Piece(NamedTuple):
    """A static mesh and the circle round it that decides whether a camera may see it."""

    name: str
    mesh: Mesh
    center: tuple[float, float]
    radius: float


def ground_mesh(lot: Lot) -> Mesh:
    """The lot's surface; its texture shows x to the right and y upwards, row 0 at the top."""
    x, y = lot.half_length, lot.half_width
    mesh = Mesh()
    mesh.whole([(-x, -y, 0.0), (x, -y, 0.0), (x, y, 0.0), (-x, y, 0.0)])
    return mesh


def scenery(lot: Lot) -> list[Piece]:
    """All static meshes but the ground."""
    return [*_furniture(lot), *_edges(lot), _building(lot), *_trees(lot)]


def _furniture(lot: Lot) -> list[Piece]:
    meshes: dict[tuple[int, int], Mesh] = {}

    def chunk(x: float, y: float) -> Mesh:
        return meshes.setdefault((math.floor(x / CHUNK_LENGTH), int(y > 0)), Mesh())

    for block in blocks(lot):
        (x, y, yaw), length, width = block.plan.center, block.plan.length, block.plan.width
        if block.part == "wheel_stop":
            # Slots run along y, so a wheel stop is long in x.
            del yaw
            low = (x - width / 2.0, y - length / 2.0, 0.0)
            high = (x + width / 2.0, y + length / 2.0, block.top)
            chunk(x, y).block(low, high, "concrete_side", "stop")
        elif block.part == "post":
            _post(chunk(x, y), x, y)
        elif block.part in ("median", "hedge"):
            pattern = "kerb" if block.part == "median" else "leaves"
            count = max(1, round(length / SEGMENT_LENGTH))
            for index in range(count):
                x0 = x - length / 2.0 + index * length / count
                x1 = x0 + length / count
                low, high = (x0, y - width / 2.0, 0.0), (x1, y + width / 2.0, block.top)
                _strip(chunk((x0 + x1) / 2.0, y), low, high, pattern, index in (0, count - 1))
    return [_piece(f"furniture_{i}_{j}", mesh) for (i, j), mesh in meshes.items()]


def _strip(
    mesh: Mesh,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    pattern: str,
    with_ends: bool,
) -> None:
    """A segment of a long low wall along x; inner segments need no end faces."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    mesh.patterned([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], pattern)
    mesh.patterned([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)], pattern)
    mesh.patterned([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], pattern)
    if with_ends:
        mesh.patterned([(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)], pattern)
        mesh.patterned([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], pattern)


def _post(mesh: Mesh, x: float, y: float) -> None:
    r = POST_RADIUS
    mesh.block((x - 0.25, y - 0.25, 0.15), (x + 0.25, y + 0.25, 0.8), "concrete_side", "concrete")
    mesh.block((x - r, y - r, 0.8), (x + r, y + r, POST_HEIGHT), "post")
    # Two arms with lamps, one over each row.
    for side in (-1.0, 1.0):
        y0, y1 = sorted((y, y + side * 1.5))
        mesh.block((x - 0.04, y0, POST_HEIGHT - 0.08), (x + 0.04, y1, POST_HEIGHT), "post")
        y0, y1 = sorted((y + side * 1.0, y + side * 1.7))
        mesh.block((x - 0.15, y0, POST_HEIGHT - 0.1), (x + 0.15, y1, POST_HEIGHT + 0.08), "post")
        z = POST_HEIGHT - 0.11
        lens = [(x - 0.13, y1, z), (x + 0.13, y1, z), (x + 0.13, y0, z), (x - 0.13, y0, z)]
        mesh.polygon(lens, "lamp")


def _edges(lot: Lot) -> list[Piece]:
    """Round the lot: a kerb, meadow to the horizon, and a hedge or low wall on each side."""
    x, y = lot.half_length, lot.half_width
    meadow = Mesh()
    far = MEADOW
    for x0, x1, y0, y1 in (
        (-far, far, y, far),
        (-far, far, -far, -y),
        (-far, -x, -y, y),
        (x, far, -y, y),
    ):
        meadow.polygon([(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)], "grass")
    pieces = [Piece("meadow", meadow, (0.0, 0.0), 2.0 * far)]
    walls = (
        ("north", (-x, y), (x, y), (0.0, 1.0)),
        ("south", (x, -y), (-x, -y), (0.0, -1.0)),
        ("east", (x, y), (x, -y), (1.0, 0.0)),
        ("west", (-x, -y), (-x, y), (-1.0, 0.0)),
    )
    for name, start, end, out in walls:
        pieces.append(_piece(name, _edge(start, end, out)))
    return pieces


def _edge(
    start: tuple[float, float], end: tuple[float, float], out: tuple[float, float]
) -> Mesh:
    """Kerb and hedge along one side, seen from inside only; start to end turns clockwise."""
    mesh = Mesh()
    length = math.dist(start, end)
    count = round(length / 4.0)
    for index in range(count):
        a, b = (
            np.array(start) + (np.array(end) - np.array(start)) * share / count
            for share in (index, index + 1)
        )
        for inner, outer, z0, z1, pattern in (
            (0.0, 0.3, 0.0, 0.15, "kerb"),
            (1.2, 2.2, 0.0, 1.5, "leaves"),
        ):
            p, q = a + inner * np.array(out), b + inner * np.array(out)
            r, s = b + outer * np.array(out), a + outer * np.array(out)
            front = [(*p, z0), (*q, z0), (*q, z1), (*p, z1)]
            top = [(*p, z1), (*q, z1), (*r, z1), (*s, z1)]
            mesh.patterned([_point(point) for point in front], pattern)
            mesh.patterned([_point(point) for point in top], pattern)
    return mesh


def _point(values: tuple[float, ...]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _building(lot: Lot) -> Piece:
    """A two-storey building along a part of the far side at positive y."""
    mesh = Mesh()
    y = lot.half_width + 6.0
    width, height = 7.0, 6.5
    for index in range(6):
        x0 = -28.0 + index * width
        mesh.patterned(
            [
                (x0, y, 0.0),
                (x0 + width, y, 0.0),
                (x0 + width, y, height),
                (x0, y, height),
            ],
            "facade",
        )
    x0, x1 = -28.0, -28.0 + 6 * width
    for x, a, b in ((x0, y + 9.0, y), (x1, y, y + 9.0)):
        mesh.patterned([(x, a, 0.0), (x, b, 0.0), (x, b, height), (x, a, height)], "facade")
    ridge = height + 2.2
    mesh.polygon(
        [
            (x0 - 0.5, y - 0.6, height),
            (x1 + 0.5, y - 0.6, height),
            (x1 + 0.5, y + 4.5, ridge),
            (x0 - 0.5, y + 4.5, ridge),
        ],
        "roof",
    )
    return _piece("building", mesh)


def _trees(lot: Lot) -> list[Piece]:
    """Trees behind the hedges, at places and in sizes that are the same in every lot."""
    random = np.random.default_rng(11)
    groups: dict[str, Mesh] = {}
    x, y = lot.half_length, lot.half_width
    for index in range(26):
        share = index / 26 * 2.0 * math.pi + float(random.uniform(-0.1, 0.1))
        reach = float(random.uniform(4.5, 10.0))
        cx, cy = (x + reach) * math.cos(share) * 1.15, (y + reach) * math.sin(share) * 1.15
        if abs(cx) < x + 3.5 and abs(cy) < y + 3.5:
            cy = math.copysign(y + reach, cy)
        if cy > y and -30.0 < cx < 16.0:
            continue
        name = f"trees_{int(cx > 0)}{int(cy > 0)}"
        _tree(groups.setdefault(name, Mesh()), cx, cy, float(random.uniform(0.8, 1.4)))
    return [_piece(name, mesh) for name, mesh in groups.items()]


def _tree(mesh: Mesh, x: float, y: float, size: float) -> None:
    """A trunk and a crown of two stacked hexagonal drums."""
    mesh.block((x - 0.15, y - 0.15, 0.0), (x + 0.15, y + 0.15, 2.2 * size), "trunk")
    rings = ((1.0, 1.8), (2.0, 3.0), (1.7, 4.4), (0.3, 5.6))
    for (r0, z0), (r1, z1) in zip(rings, rings[1:], strict=False):
        for index in range(6):
            a, b = index * math.pi / 3.0, (index + 1) * math.pi / 3.0
            quad = [
                (x + size * r * math.cos(angle), y + size * r * math.sin(angle), size * z)
                for r, z, angle in ((r0, z0, a), (r0, z0, b), (r1, z1, b), (r1, z1, a))
            ]
            mesh.patterned(quad, "crown")


def _piece(name: str, mesh: Mesh) -> Piece:
    plan = np.array(mesh.vertices)[:, :2]
    center = (plan.min(axis=0) + plan.max(axis=0)) / 2.0
    radius = float(np.linalg.norm(plan - center, axis=1).max())
    return Piece(name, mesh, (float(center[0]), float(center[1])), radius)
