"""A saloon car of some hundred triangles, and a coarser one for far away.

Car frame: origin on the ground below the middle, x forward, y left, z up. What is called `paint`
takes the car's own colour.
"""

from __future__ import annotations

import itertools
import math

from helmsight.envs.parking.mujoco.mesh import Mesh, Point
from helmsight.envs.parking.scenario import CAR_LENGTH, CAR_WIDTH

HALF_LENGTH, HALF_WIDTH = CAR_LENGTH / 2.0, CAR_WIDTH / 2.0
BELT, ROOF = 0.92, 1.45
WHEEL_X, WHEEL_RADIUS = 1.38, 0.33
# Side view of the lower body from the rear sill over boot and bonnet to the front sill: (x, z).
PROFILE = (
    (-2.22, 0.24),
    (-2.30, 0.55),
    (-2.24, 0.90),
    (-1.72, 0.97),
    (1.02, 0.95),
    (1.95, 0.80),
    (2.22, 0.66),
    (2.30, 0.50),
    (2.22, 0.24),
)
# Cabin: (x, half width, z) of the base's and the roof's rear and front edges.
BASE_REAR, BASE_FRONT, BASE_HALF = -1.85, 1.12, 0.84
ROOF_REAR, ROOF_FRONT, ROOF_HALF = -1.15, 0.30, 0.62


def _half_width(z: float) -> float:
    """The body tucks in towards the sill and towards the belt line."""
    return HALF_WIDTH - (0.06 if z > 0.85 else 0.0) - (0.05 if z < 0.3 else 0.0)


def near_mesh() -> Mesh:
    """The whole car: body, roof, pillars, windows, wheels, lights, plates, dark underside."""
    mesh = Mesh()
    _body(mesh)
    _windows(mesh)
    for x in (-WHEEL_X, WHEEL_X):
        for side in (-1.0, 1.0):
            _wheel(mesh, x, side)
    mesh.block((-2.1, -0.78, 0.08), (2.1, 0.78, 0.26), "grille")
    for side in (-1.0, 1.0):
        inner, outer = side * 0.48, side * 0.86
        _end_panel(mesh, 1.0, inner, outer, 0.52, 0.68, "headlight")
        _end_panel(mesh, -1.0, inner, outer, 0.62, 0.84, "taillight")
    _end_panel(mesh, 1.0, -0.42, 0.42, 0.50, 0.62, "grille")
    for end in (-1.0, 1.0):
        _end_panel(mesh, end, -0.26, 0.26, 0.34, 0.46, "plate")
    return mesh


def _body(mesh: Mesh) -> None:
    """Lower body, roof and pillars."""
    for (x0, z0), (x1, z1) in itertools.pairwise(PROFILE):
        w0, w1 = _half_width(z0), _half_width(z1)
        mesh.polygon([(x0, w0, z0), (x0, -w0, z0), (x1, -w1, z1), (x1, w1, z1)], "paint")
    for side in (-1.0, 1.0):
        _body_side(mesh, side)
    roof = _cabin_ring(1.0)
    mesh.polygon(roof, "paint")
    base = _cabin_ring(0.0)
    for index in range(4):
        following = (index + 1) % 4
        mesh.polygon([base[index], base[following], roof[following], roof[index]], "paint")


def _body_side(mesh: Mesh, side: float) -> None:
    """One flank: a lower band, and an upper one that leans in."""
    lower = [(-2.22, 0.24), (2.22, 0.24), (2.30, 0.50), (2.22, 0.66), (-2.28, 0.66)]
    upper = [(-2.28, 0.66), (2.22, 0.66), (1.95, 0.80), (1.02, 0.95), (-1.72, 0.97), (-2.24, 0.90)]
    for outline in (lower, upper):
        points: list[Point] = [(x, -side * _half_width(z), z) for x, z in outline]
        mesh.polygon(points if side > 0 else points[::-1], "paint")


def _cabin_ring(height: float) -> list[Point]:
    """The cabin's cross-section at a share of its height, anticlockwise from the rear right."""
    z = BELT + height * (ROOF - BELT)
    rear = BASE_REAR + height * (ROOF_REAR - BASE_REAR)
    front = BASE_FRONT + height * (ROOF_FRONT - BASE_FRONT)
    half = BASE_HALF + height * (ROOF_HALF - BASE_HALF)
    return [(rear, -half, z), (front, -half, z), (front, half, z), (rear, half, z)]


def _windows(mesh: Mesh) -> None:
    """Panes just outside the cabin's faces, the pillars left free between them."""
    low, high = _cabin_ring(0.12), _cabin_ring(0.86)
    for index in range(4):
        following = (index + 1) % 4
        a, b, c, d = low[index], low[following], high[following], high[index]
        panes = ((0.05, 0.50), (0.54, 0.95)) if index in (0, 2) else ((0.07, 0.93),)
        outward = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))[index]
        shift = (0.015 * outward[0], 0.015 * outward[1], 0.01)
        for start, end in panes:
            corners = (_between(a, b, start), _between(a, b, end))
            tops = (_between(d, c, end), _between(d, c, start))
            mesh.polygon([_moved(point, shift) for point in (*corners, *tops)], "glass")


def _wheel(mesh: Mesh, x: float, side: float) -> None:
    """A tyre's disc and tread with a rim on it, at the flank."""
    y = side * (HALF_WIDTH + 0.005)
    inner = side * (HALF_WIDTH - 0.2)
    for radius, corners, colour, out in (
        (WHEEL_RADIUS, 8, "tyre", 0.0),
        (0.2, 6, "rim", side * 0.01),
    ):
        angles = [-side * 2.0 * math.pi * (index + 0.5) / corners for index in range(corners)]
        mesh.polygon(
            [
                (x + radius * math.cos(a), y + out, WHEEL_RADIUS + radius * math.sin(a))
                for a in angles
            ],
            colour,
        )
    # Below the sill the tread shows from the front and from behind.
    for end in (-1.0, 1.0):
        points = [
            (x + end * 0.27, y, 0.3),
            (x + end * 0.15, y, 0.02),
            (x + end * 0.15, inner, 0.02),
            (x + end * 0.27, inner, 0.3),
        ]
        mesh.polygon(points if side * end > 0 else points[::-1], "tyre")


def _end_panel(
    mesh: Mesh, end: float, y0: float, y1: float, z0: float, z1: float, colour: str
) -> None:
    """A flat panel on the car's front (end 1) or rear (end -1), a little proud of the body."""
    x = end * (HALF_LENGTH + 0.012)
    left, right = max(y0, y1), min(y0, y1)
    points = [(x, right, z0), (x, left, z0), (x, left, z1), (x, right, z1)]
    mesh.polygon(points if end > 0 else points[::-1], colour)


def far_mesh() -> Mesh:
    """The car from afar: lower body, dark cabin, roof."""
    mesh = Mesh()
    mesh.block((-2.26, -0.92, 0.16), (2.26, 0.92, 0.90), "paint")
    base, roof = _cabin_ring(-0.05), _cabin_ring(1.0)
    mesh.polygon(roof, "paint")
    for index in range(4):
        following = (index + 1) % 4
        mesh.polygon([base[index], base[following], roof[following], roof[index]], "glass")
    return mesh


def _between(a: Point, b: Point, share: float) -> Point:
    return (
        a[0] + share * (b[0] - a[0]),
        a[1] + share * (b[1] - a[1]),
        a[2] + share * (b[2] - a[2]),
    )


def _moved(point: Point, shift: Point) -> Point:
    return (point[0] + shift[0], point[1] + shift[1], point[2] + shift[2])
