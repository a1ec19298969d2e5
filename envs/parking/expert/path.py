"""Paths of constant-curvature arcs, and their samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose, wrap_angle

Floats = NDArray[np.float64]


class Arc(NamedTuple):
    """A piece of a path: curvature in 1/m, positive to the left; signed length in m (- reverse)."""

    curvature: float
    length: float


def advance(poses: Floats, curvature: Floats | float, length: Floats | float) -> Floats:
    """Poses [..., 3] (x, y, yaw) after arcs of a curvature and signed length. Exact.

    The chord of an arc turning by a is its length times sin(a/2)/(a/2), at half the turn.
    """
    half_turn = np.multiply(curvature, length) / 2.0
    chord = length * np.sinc(half_turn / np.pi)
    heading = poses[..., 2] + half_turn
    return np.stack(
        [
            poses[..., 0] + chord * np.cos(heading),
            poses[..., 1] + chord * np.sin(heading),
            heading + half_turn,
        ],
        axis=-1,
    )


def sample_words(starts: Floats, curvature: Floats, length: Floats, spacing: float) -> Floats:
    """Samples [B, T, 3] of B paths of S arcs each; shorter paths repeat their end.

    starts: [B, 3]; curvature, length: [B, S]. Two neighbouring samples of the longest path are
    `spacing` metres apart or less, the others' are closer.
    """
    distance = np.abs(length)
    ends = np.cumsum(distance, axis=1)
    count = max(2, int(np.ceil(ends[:, -1].max() / spacing)) + 1)
    travelled = ends[:, -1:] * np.linspace(0.0, 1.0, count)  # [B, T]
    poses = np.repeat(starts[:, None, :], count, axis=1)
    for arc in range(length.shape[1]):
        begin = ends[:, arc, None] - distance[:, arc, None]
        inside = np.clip(travelled - begin, 0.0, distance[:, arc, None])
        poses = advance(poses, curvature[:, arc, None], inside * np.sign(length[:, arc, None]))
    return poses


class Leg(NamedTuple):
    """A stretch of a path driven in one gear, sampled.

    direction: 1 forwards, -1 in reverse; distance [T] driven in it, in m; poses [T, 3];
    curvature [T] in 1/m of the arc that starts at or covers the sample.
    """

    direction: int
    distance: Floats
    poses: Floats
    curvature: Floats

    @property
    def length(self) -> float:
        return float(self.distance[-1])


class Path:
    """A drivable path: a start pose and arcs, neighbouring arcs of equal curvature merged."""

    def __init__(self, start: Pose, arcs: Sequence[Arc]) -> None:
        self.start = start
        self.arcs = _merged(arcs)

    @property
    def length(self) -> float:
        """Metres driven, both gears."""
        return sum(abs(arc.length) for arc in self.arcs)

    @property
    def gear_changes(self) -> int:
        return max(0, len(self._arcs_by_gear()) - 1)

    @property
    def end(self) -> Pose:
        pose = np.array(self.start, np.float64)
        for arc in self.arcs:
            pose = advance(pose, arc.curvature, arc.length)
        x, y, yaw = pose.tolist()
        return Pose(x, y, wrap_angle(yaw))

    def _arcs_by_gear(self) -> list[list[Arc]]:
        groups: list[list[Arc]] = []
        for arc in self.arcs:
            if groups and groups[-1][-1].length * arc.length > 0.0:
                groups[-1].append(arc)
            else:
                groups.append([arc])
        return groups

    def legs(self, spacing: float = 0.05) -> list[Leg]:
        """The path's stretches in one gear each, sampled about every `spacing` metres."""
        legs = []
        pose = np.array(self.start, np.float64)
        for arcs in self._arcs_by_gear():
            direction = 1 if arcs[0].length > 0.0 else -1
            distances, poses, curvatures, driven = [np.zeros(1)], [pose[None]], [], 0.0
            for arc in arcs:
                count = max(1, int(np.ceil(abs(arc.length) / spacing)))
                steps = np.linspace(0.0, abs(arc.length), count + 1)[1:]
                points = advance(np.repeat(pose[None], count, 0), arc.curvature, direction * steps)
                distances.append(driven + steps)
                poses.append(points)
                curvatures.append(np.full(count, arc.curvature))
                pose, driven = points[-1], driven + abs(arc.length)
            curvature = np.concatenate([*curvatures, curvatures[-1][-1:]])
            legs.append(Leg(direction, np.concatenate(distances), np.concatenate(poses), curvature))
        return legs

    def samples(self, spacing: float = 0.05) -> Floats:
        """Poses [T, 3] along the whole path."""
        legs = self.legs(spacing)
        if not legs:
            return np.array([self.start], np.float64)
        return np.concatenate([leg.poses for leg in legs])


def _merged(arcs: Sequence[Arc]) -> list[Arc]:
    merged: list[Arc] = []
    for arc in arcs:
        if abs(arc.length) < 1e-6:
            continue
        last = merged[-1] if merged else None
        if last and last.length * arc.length > 0 and abs(last.curvature - arc.curvature) < 1e-9:
            merged[-1] = Arc(last.curvature, last.length + arc.length)
        else:
            merged.append(arc)
    return merged
