"""What the lot and its surroundings look like, the ground's markings aside: static meshes.

Furniture comes in chunks along x, so that a camera draws only the chunks it sees.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.furniture import (
    PLINTH_HEIGHT,
    PLINTH_WIDTH,
    POST_HEIGHT,
    POST_RADIUS,
    Block,
    blocks,
)
from helmsight.envs.parking.mujoco.mesh import Mesh

CHUNK_LENGTH = 12.4
SEGMENT_LENGTH = 6.2
MEADOW = 200.0
# Wheel stops are specks beyond this.
STOPS_WITHIN = 22.0


class Piece(NamedTuple):
    """A static mesh and the sphere round it that decides whether a camera may see it.

    within: distance beyond which it is left out.
    """

    mesh: Mesh
    center: tuple[float, float, float]
    radius: float
    within: float = math.inf


def ground_mesh(lot: Lot) -> Mesh:
    """The lot's surface; row 0 of its texture lies at the lowest y, column 0 at the lowest x."""
    x, y = lot.half_length, lot.half_width
    mesh = Mesh()
    mesh.whole((-x, -y), (x, y), cell=8.0)
    return mesh


def scenery(lot: Lot) -> list[Piece]:
    """All static meshes but the ground."""
    return [*_furniture(lot), *_edges(lot), _building(lot), *_trees(lot)]


def _furniture(lot: Lot) -> list[Piece]:
    medians: dict[str, Mesh] = {}
    stops: dict[str, Mesh] = {}

    def chunk(meshes: dict[str, Mesh], kind: str, x: float, y: float) -> Mesh:
        name = f"{kind}_{math.floor(x / CHUNK_LENGTH)}_{int(y > 0)}"
        return meshes.setdefault(name, Mesh())

    for block in blocks(lot):
        (x, y, _), length, width = block.plan.center, block.plan.length, block.plan.width
        if block.part == "wheel_stop":
            _wheel_stop(chunk(stops, "stops", x, y), block)
        elif block.part == "post":
            _post(chunk(medians, "median", x, y), x, y)
        elif block.part in ("median", "hedge"):
            pattern = "kerb" if block.part == "median" else "leaves"
            count = max(1, round(length / SEGMENT_LENGTH))
            for index in range(count):
                x0 = x - length / 2.0 + index * length / count
                x1 = x0 + length / count
                low, high = (x0, y - width / 2.0, 0.0), (x1, y + width / 2.0, block.top)
                mesh = chunk(medians, "median", (x0 + x1) / 2.0, y)
                _strip(mesh, low, high, pattern, index in (0, count - 1))
    return [
        *(_piece(mesh) for mesh in medians.values()),
        *(_piece(mesh)._replace(within=STOPS_WITHIN) for mesh in stops.values()),
    ]


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


def _wheel_stop(mesh: Mesh, block: Block) -> None:
    """The two faces of a wheel stop that are seen: towards the slot, and on top."""
    (x, y, yaw), half, z = block.plan.center, block.plan.width / 2.0, block.top
    # The stop's heading points away from the slot, along y.
    into = -math.copysign(1.0, math.sin(yaw))
    near, far = y + into * block.plan.length / 2.0, y - into * block.plan.length / 2.0
    left, right = x + into * half, x - into * half
    front = [(left, near, 0.0), (right, near, 0.0), (right, near, z), (left, near, z)]
    top = [(left, near, z), (right, near, z), (right, far, z), (left, far, z)]
    mesh.polygon(front, "concrete_side")
    mesh.polygon(top, "stop")


def _post(mesh: Mesh, x: float, y: float) -> None:
    """A lamp post on its plinth, with one arm that carries a lamp over each row."""
    r, half_arm = POST_RADIUS, 1.6
    p = PLINTH_WIDTH / 2.0
    mesh.block((x - p, y - p, 0.1), (x + p, y + p, PLINTH_HEIGHT), "concrete_side", "concrete")
    mesh.block((x - r, y - r, PLINTH_HEIGHT), (x + r, y + r, POST_HEIGHT), "post")
    low, high = (x - 0.14, y - half_arm, POST_HEIGHT - 0.1), (x + 0.14, y + half_arm, POST_HEIGHT)
    mesh.block(low, high, "post")
    z = POST_HEIGHT - 0.1
    for side in (-1.0, 1.0):
        y0, y1 = sorted((y + side * 0.9, y + side * half_arm))
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
        meadow.level((x0, y0), (x1, y1), 100.0, "grass")
    pieces = [Piece(meadow, (0.0, 0.0, 0.0), 2.0 * far)]
    walls = (
        ((-x, y), (x, y), (0.0, 1.0)),
        ((x, -y), (-x, -y), (0.0, -1.0)),
        ((x, y), (x, -y), (1.0, 0.0)),
        ((-x, -y), (-x, y), (-1.0, 0.0)),
    )
    for start, end, out in walls:
        pieces.append(_piece(_edge(start, end, out)))
    return pieces


def _edge(start: tuple[float, float], end: tuple[float, float], out: tuple[float, float]) -> Mesh:
    """Kerb and hedge along one side, seen from inside only; start to end turns clockwise."""
    mesh = Mesh()
    count = round(math.dist(start, end) / 7.0)
    for inner, outer, top_z, pattern, pieces in (
        (0.0, 0.3, 0.15, "kerb", 1),
        (1.2, 2.2, 1.5, "leaves", count),
    ):
        for index in range(pieces):
            a, b = (
                np.array(start) + (np.array(end) - np.array(start)) * share / pieces
                for share in (index, index + 1)
            )
            p, q = a + inner * np.array(out), b + inner * np.array(out)
            r, s = b + outer * np.array(out), a + outer * np.array(out)
            front = [(*p, 0.0), (*q, 0.0), (*q, top_z), (*p, top_z)]
            top = [(*p, top_z), (*q, top_z), (*r, top_z), (*s, top_z)]
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
    return _piece(mesh)


def _trees(lot: Lot) -> list[Piece]:
    """Trees behind the hedges, at places and in sizes that are the same in every lot."""
    random = np.random.default_rng(11)
    groups: dict[str, Mesh] = {}
    x, y = lot.half_length, lot.half_width
    for index in range(20):
        share = index / 20 * 2.0 * math.pi + float(random.uniform(-0.1, 0.1))
        reach = float(random.uniform(4.5, 10.0))
        cx, cy = (x + reach) * math.cos(share) * 1.15, (y + reach) * math.sin(share) * 1.15
        if abs(cx) < x + 3.5 and abs(cy) < y + 3.5:
            cy = math.copysign(y + reach, cy)
        if cy > y and -30.0 < cx < 16.0:
            continue
        name = f"trees_{int(cx > 0)}{int(cy > 0)}"
        _tree(groups.setdefault(name, Mesh()), cx, cy, float(random.uniform(0.8, 1.4)))
    return [_piece(mesh) for mesh in groups.values()]


def _tree(mesh: Mesh, x: float, y: float, size: float) -> None:
    """A trunk and a crown of two stacked pentagonal drums."""
    trunk = [(x + 0.2 * math.cos(a), y + 0.2 * math.sin(a)) for a in (0.0, 2.1, 4.2, 0.0)]
    for (ax, ay), (bx, by) in itertools.pairwise(trunk):
        mesh.polygon(
            [(ax, ay, 0.0), (bx, by, 0.0), (bx, by, 2.4 * size), (ax, ay, 2.4 * size)], "trunk"
        )
    corners = 5
    rings = ((1.3, 1.8), (2.1, 3.4), (0.5, 5.5))
    for (r0, z0), (r1, z1) in itertools.pairwise(rings):
        for index in range(corners):
            a, b = (2.0 * math.pi * (index + end) / corners for end in (0, 1))
            quad = [
                (x + size * r * math.cos(angle), y + size * r * math.sin(angle), size * z)
                for r, z, angle in ((r0, z0, a), (r0, z0, b), (r1, z1, b), (r1, z1, a))
            ]
            mesh.patterned(quad, "crown")


def _piece(mesh: Mesh) -> Piece:
    triangles = (mesh.plain_triangles, mesh.patterned_triangles)
    points = np.concatenate([part.positions for part in triangles])
    center = (points.min(axis=0) + points.max(axis=0)) / 2.0
    radius = float(np.linalg.norm(points - center, axis=1).max())
    return Piece(mesh, (float(center[0]), float(center[1]), float(center[2])), radius)
