"""Reeds-Shepp paths: the shortest ways of a car that turns both ways and drives both ways.

J. Reeds and L. Shepp, "Optimal paths for a car that goes both forwards and backwards", Pacific
Journal of Mathematics 145 (1990); the numbers in brackets are the paper's equations. Everything is
in units of the turning radius and vectorised over words and query poses.

Eleven formulas, each under time flip (drive every segment the other way) and reflection (swap left
and right), give all 48 words: (8.3) and (8.4) share one formula whose last segment has either sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
_MAX_SEGMENTS = 5
_QUARTER = math.pi / 2.0


class Words(NamedTuple):
    """Candidate paths to N goals, W words each, up to five segments a word.

    steer: int8 [W, 5], 1 left, -1 right, 0 straight; length: [W, N, 5], signed, in turning radii,
    0 where a word has fewer segments; total: [W, N], `inf` where the word does not reach the goal.
    """

    steer: NDArray[np.int8]
    length: Floats
    total: Floats


# A formula takes x, y, yaw and gives the segments' lengths and where they are valid.
_Formula = Callable[[Floats, Floats, Floats], tuple[tuple[Floats | float, ...], NDArray[np.bool_]]]


def _wrap(angle: Floats) -> Floats:
    """The same direction in (-pi, pi], with rounding errors just above -pi taken to pi."""
    return math.pi - np.mod(math.pi - angle + _ROUNDING, 2.0 * math.pi) + _ROUNDING


def _tau_omega(u: Floats, v: Floats, xi: Floats, eta: Floats, yaw: Floats) -> tuple[Floats, Floats]:
    """First and last turn of the words with four turns (8.6)."""
    delta = _wrap(u - v)
    a = np.sin(u) - np.sin(delta)
    b = np.cos(u) - np.cos(delta) - 1.0
    tau = np.arctan2(eta * a - xi * b, xi * a + eta * b)
    flipped = 2.0 * (np.cos(delta) - np.cos(v) - np.cos(u)) + 3.0 < 0.0
    tau = _wrap(np.where(flipped, tau + math.pi, tau))
    return tau, _wrap(tau - u + v - yaw)


def _positive(*lengths: Floats) -> NDArray[np.bool_]:
    """Where none of these is negative, but for rounding. In turning radii, as the goal is."""
    valid = lengths[0] >= -_ROUNDING
    for length in lengths[1:]:
        valid = valid & (length >= -_ROUNDING)
    return valid


def _same_side(x: Floats, y: Floats, yaw: Floats) -> tuple[Floats, Floats]:
    """Centre of the goal's left circle from the start's left circle."""
    return x - np.sin(yaw), y - 1.0 + np.cos(yaw)


def _other_side(x: Floats, y: Floats, yaw: Floats) -> tuple[Floats, Floats]:
    """Centre of the goal's right circle from the start's left circle."""
    return x + np.sin(yaw), y - 1.0 - np.cos(yaw)


def _left_straight_left(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ S+ L+ (8.1)."""
    xi, eta = _same_side(x, y, yaw)
    t = np.arctan2(eta, xi)
    v = _wrap(yaw - t)
    return (t, np.hypot(xi, eta), v), _positive(t, v)


def _left_straight_right(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ S+ R+ (8.2)."""
    xi, eta = _other_side(x, y, yaw)
    square = xi * xi + eta * eta - 4.0
    u = np.sqrt(np.maximum(square, 0.0))
    t = _wrap(np.arctan2(eta, xi) + np.arctan2(2.0, u))
    v = _wrap(t - yaw)
    return (t, u, v), _positive(square, t, v)


def _left_right_left(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R- L+ and L+ R- L- (8.3, 8.4)."""
    xi, eta = _same_side(x, y, yaw)
    distance = np.hypot(xi, eta)
    u = -2.0 * np.arcsin(np.minimum(0.25 * distance, 1.0))
    t = _wrap(np.arctan2(eta, xi) + 0.5 * u + math.pi)
    return (t, u, _wrap(yaw - t + u)), _positive(4.0 - distance, t)


def _four_turns_one_cusp(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R+(u) L-(u) R- (8.7)."""
    xi, eta = _other_side(x, y, yaw)
    rho = 0.25 * (2.0 + np.hypot(xi, eta))
    u = np.arccos(np.minimum(rho, 1.0))
    t, v = _tau_omega(u, -u, xi, eta, yaw)
    return (t, u, -u, v), _positive(4.0 * (1.0 - rho), t, -v)


def _four_turns_two_cusps(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R-(u) L-(u) R+ (8.8)."""
    xi, eta = _other_side(x, y, yaw)
    rho = (20.0 - xi * xi - eta * eta) / 16.0
    u = -np.arccos(np.clip(rho, 0.0, 1.0))
    t, v = _tau_omega(u, u, xi, eta, yaw)
    return (t, u, u, v), _positive(rho, 4.0 * (1.0 - rho), t, v)


def _cusp_straight_left(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R-(pi/2) S- L- (8.9)."""
    xi, eta = _same_side(x, y, yaw)
    rho = np.hypot(xi, eta)
    r = np.sqrt(np.maximum(rho * rho - 4.0, 0.0))
    t = _wrap(np.arctan2(eta, xi) + np.arctan2(r, -2.0))
    u = 2.0 - r
    v = _wrap(yaw - _QUARTER - t)
    return (t, -_QUARTER, u, v), _positive(rho - 2.0, t, -u, -v)


def _cusp_straight_right(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R-(pi/2) S- R- (8.10)."""
    xi, eta = _other_side(x, y, yaw)
    t = np.arctan2(xi, -eta)
    u = 2.0 - np.hypot(xi, eta)
    v = _wrap(t + _QUARTER - yaw)
    return (t, -_QUARTER, u, v), _positive(t, -u, -v)


def _cusp_straight_cusp(x: Floats, y: Floats, yaw: Floats):  # type: ignore[no-untyped-def]
    """L+ R-(pi/2) S- L-(pi/2) R+ (8.11)."""
    xi, eta = _other_side(x, y, yaw)
    rho = np.hypot(xi, eta)
    u = 4.0 - np.sqrt(np.maximum(rho * rho - 4.0, 0.0))
    t = _wrap(np.arctan2((4.0 - u) * xi - 2.0 * eta, -2.0 * xi + (u - 4.0) * eta))
    v = _wrap(t - yaw)
    return (t, -_QUARTER, u, -_QUARTER, v), _positive(rho - 2.0, -u, t, v)


# (formula, steering of its segments, whether the path is taken from the goal back to the start)
_FORMULAS: tuple[tuple[_Formula, tuple[int, ...], bool], ...] = (
    (_left_straight_left, (1, 0, 1), False),
    (_left_straight_right, (1, 0, -1), False),
    (_left_right_left, (1, -1, 1), False),
    (_left_right_left, (1, -1, 1), True),
    (_four_turns_one_cusp, (1, -1, 1, -1), False),
    (_four_turns_two_cusps, (1, -1, 1, -1), False),
    (_cusp_straight_left, (1, -1, 0, 1), False),
    (_cusp_straight_right, (1, -1, 0, -1), False),
    (_cusp_straight_left, (1, -1, 0, 1), True),
    (_cusp_straight_right, (1, -1, 0, -1), True),
    (_cusp_straight_cusp, (1, -1, 0, 1, -1), False),
)
_FLIP = np.array([1.0, -1.0, 1.0, -1.0])[:, None]  # direction of travel, a variant
_REFLECT = np.array([1.0, 1.0, -1.0, -1.0])[:, None]  # left and right, a variant
WORDS = len(_FORMULAS) * len(_FLIP)


def _steering() -> NDArray[np.int8]:
    steer = np.zeros((WORDS, _MAX_SEGMENTS), np.int8)
    for index, (_, turns, backwards) in enumerate(_FORMULAS):
        ordered = turns[::-1] if backwards else turns
        for variant in range(4):
            steer[4 * index + variant, : len(turns)] = np.array(ordered) * _REFLECT[variant, 0]
    return steer


STEER = _steering()


def reeds_shepp_words(x: Floats, y: Floats, yaw: Floats) -> Words:
    """Every word from the origin to the goals (x [N], y [N] in turning radii, yaw [N] in rad)."""
    x, y, yaw = (np.asarray(values, np.float64) for values in (x, y, yaw))
    # [4, N]: the goal under time flip and reflection
    xs, ys, yaws = x * _FLIP, y * _REFLECT, yaw * _FLIP * _REFLECT
    cos, sin = np.cos(yaws), np.sin(yaws)
    back_x, back_y = xs * cos + ys * sin, xs * sin - ys * cos
    length = np.zeros((WORDS, x.shape[0], _MAX_SEGMENTS))
    reached = np.empty((WORDS, x.shape[0]), bool)
    for index, (formula, turns, backwards) in enumerate(_FORMULAS):
        rows = slice(4 * index, 4 * index + 4)
        segments, valid = formula(back_x, back_y, yaws) if backwards else formula(xs, ys, yaws)
        reached[rows] = valid
        ordered = segments[::-1] if backwards else segments
        for position in range(len(turns)):
            length[rows, :, position] = ordered[position] * _FLIP
    total = np.where(reached, np.abs(length).sum(axis=-1), np.inf)
    return Words(STEER, length, total)


def reeds_shepp_distance(x: Floats, y: Floats, yaw: Floats) -> Floats:
    """Length [N] of the shortest path from the origin to each goal, in turning radii."""
    return np.asarray(reeds_shepp_words(x, y, yaw).total.min(axis=0))


def gear_changes(length: Floats, first: Floats | float, last: float) -> NDArray[np.int64]:
    """Changes of direction in words `length` [..., 5], driven between two given directions.

    first: direction (1, -1, or 0 for a car at rest) before the word, last: direction after it
    (0 for none). Segments of no length do not count.
    """
    signs = np.where(np.abs(length) > _ROUNDING, np.sign(length), 0.0)
    previous = np.broadcast_to(np.asarray(first, np.float64), signs.shape[:-1])
    changes = np.zeros(signs.shape[:-1], np.int64)
    for position in range(signs.shape[-1]):
        sign = signs[..., position]
        changes += sign * previous < 0.0
        previous = np.where(sign == 0.0, previous, sign)
    return changes + (previous * last < 0.0)
