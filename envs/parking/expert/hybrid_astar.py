"""Hybrid A* with Reeds-Shepp shots, vectorised over batches of nodes.

D. Dolgov et al., "Path Planning for Autonomous Vehicles in Unknown Semi-structured Environments",
IJRR 29 (2010). Differences: several nodes are expanded at once, because a numpy call costs the same
for one node and for twenty; every Reeds-Shepp word is a candidate shot, not only the shortest; and
the search goes on after the first path until nothing cheaper can be left, so that similar starts
are driven alike. It runs backwards in time, from the slot, which is narrow, to the start, which is
not: shots succeed as soon as the car is out of the slot.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.cost_to_go import (
    GEAR_CHANGE_COST,
    TURNING_RADIUS,
    cost_to_go,
)
from helmsight.envs.parking.expert.footprint import ClearanceField
from helmsight.envs.parking.expert.path import Arc, Path, advance, sample_words
from helmsight.envs.parking.expert.reeds_shepp import gear_changes, reeds_shepp_words

Floats = NDArray[np.float64]

CELL = 0.5
YAW_CELL = math.radians(7.5)
PRIMITIVE_LENGTH = 0.9
STEER_CHANGE_COST = 0.25  # from straight to full lock
# Clearance is paid for a metre driven and a metre that is missing: a little below the comfortable
# clearance, much below the safe one, so that one search finds the narrow way only where it must.
COMFORTABLE_CLEARANCE, COMFORT_COST = 0.9, 2.0
SAFE_CLEARANCE, SAFETY_COST = 0.6, 8.0
HEURISTIC_WEIGHT = 1.1
TAIL = 2.0
SHORT_TAILS = (TAIL, 1.0, 0.4, 0.0)
SHORT_TAIL_COST = 0.5  # a metre that the tail is shorter

_BATCH = 32
_SHOTS = 8
_CHECK_SPACING = 0.2
_DIRECTIONS = np.repeat([1.0, -1.0], 5)
_STEERS = np.tile([-1.0, -0.5, 0.0, 0.5, 1.0], 2)
# A start or a goal closer to an obstacle than the margin does not forbid what is as close near it.
_RELAXED_REACH = 2.0


class Ends(NamedTuple):
    """A planning problem: from `start`, driving in `start_direction`, to `goal`.

    start_direction: 1 or -1 for a moving car, 0 at rest. goal_direction: 1 when the goal is
    entered forwards, -1 in reverse.
    """

    start: Pose
    start_direction: int
    goal: Pose
    goal_direction: int


def discomfort_of(clearance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cost a metre of driving at a clearance [...]."""
    comfort = COMFORT_COST * np.maximum(COMFORTABLE_CLEARANCE - clearance, 0.0)
    return comfort + SAFETY_COST * np.maximum(SAFE_CLEARANCE - clearance, 0.0)


class _Shot(NamedTuple):
    """A way from a node to the start, in the search's time."""

    cost: float
    node: int
    arcs: list[Arc]


class HybridAStar:
    """One search among what one field knows of obstacles, with one clearance margin."""

    def __init__(
        self, clearances: ClearanceField, ends: Ends, margin: float, max_nodes: int = 120_000
    ) -> None:
        self._map, self._ends, self._margin = clearances, ends, margin
        self._end_margins = [
            (np.array(pose[:2]), min(margin, clearances.clearance_at(pose) - 0.03))
            for pose in (ends.start, ends.goal)
        ]
        self._poses = np.zeros((max_nodes, 3))
        self._cost = np.zeros(max_nodes)
        self._arrival = np.zeros((max_nodes, 2))  # direction and steering that led to the node
        self._parent = np.full(max_nodes, -1)
        self._cells = np.zeros(max_nodes, np.int64)
        self._best_in_cell: dict[int, float] = {}
        self._open: list[tuple[float, int]] = []
        self._size = 0
        self._best: _Shot | None = None
        self.expanded = 0

    def plan(self, max_expansions: int) -> Path | None:
        """The cheapest path found, or None."""
        self._add_roots()
        while self._open and self.expanded < max_expansions:
            if self._best is not None and self._open[0][0] >= self._best.cost:
                break
            batch = self._pop()
            if batch.size == 0:
                continue
            self.expanded += batch.size
            self._shoot(batch)
            if self._size + batch.size * _STEERS.size > self._cost.size:
                break
            self._expand(batch)
        return None if self._best is None else self._path(self._best)

    def _add_roots(self) -> None:
        """Begin before the goal, where a straight tail into it starts."""
        start, _, goal, direction = self._ends
        near = math.hypot(start.x - goal.x, start.y - goal.y) < 4.0
        for tail in SHORT_TAILS if near else (TAIL,):
            lengths = -direction * np.linspace(0.0, tail, math.ceil(tail / _CHECK_SPACING) + 1)
            swept = advance(np.array([goal], np.float64), 0.0, lengths)
            free, clearance = self._free(swept)
            if free.all():
                discomfort = float(discomfort_of(clearance).mean())
                cost = tail * (1.0 + discomfort) + SHORT_TAIL_COST * (TAIL - tail)
                arrival = np.array([[-direction, 0.0]])
                self._add(swept[-1:], np.array([cost]), arrival, np.array([-1]))

    def _free(self, poses: Floats) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Whether poses [..., 3] keep the margin, and their clearance."""
        clearance = self._map.clearance(poses)
        required = np.full(clearance.shape, self._margin)
        for position, margin in self._end_margins:
            offset = poses[..., :2] - position
            near = (offset * offset).sum(axis=-1) < _RELAXED_REACH**2
            required = np.where(near, np.minimum(required, margin), required)
        return clearance >= required, clearance

    def _add(self, poses: Floats, cost: Floats, arrival: Floats, parents: NDArray) -> None:
        """Put nodes on the open list, each unless its cell was reached at less cost."""
        estimate = cost + HEURISTIC_WEIGHT * cost_to_go(poses, self._ends.start)
        steps = np.rint(np.column_stack([poses[:, :2] / CELL, poses[:, 2] / YAW_CELL])).astype(
            np.int64
        )
        steps[:, 2] %= round(2.0 * math.pi / YAW_CELL)
        cells = ((steps[:, 0] * 512 + steps[:, 1]) * 64 + steps[:, 2]) * 2 + (arrival[:, 0] > 0)
        limit = math.inf if self._best is None else self._best.cost
        for index in np.flatnonzero(estimate < limit).tolist():
            cell, node_cost = int(cells[index]), float(cost[index])
            if self._best_in_cell.get(cell, math.inf) <= node_cost + 1e-9:
                continue
            self._best_in_cell[cell] = node_cost
            node = self._size
            self._poses[node], self._cost[node] = poses[index], node_cost
            self._arrival[node], self._parent[node] = arrival[index], parents[index]
            self._cells[node] = cell
            self._size += 1
            heapq.heappush(self._open, (float(estimate[index]), node))

    def _pop(self) -> NDArray[np.int64]:
        """Up to a batch of the most promising nodes that nothing cheaper has replaced."""
        batch: list[int] = []
        while self._open and len(batch) < _BATCH:
            _, node = heapq.heappop(self._open)
            if self._best_in_cell[int(self._cells[node])] >= self._cost[node]:
                batch.append(node)
        return np.array(batch, np.int64)

    def _expand(self, batch: NDArray[np.int64]) -> None:
        curvature = _STEERS / TURNING_RADIUS
        fractions = np.arange(1, 6) / 5.0
        lengths = _DIRECTIONS[:, None] * PRIMITIVE_LENGTH * fractions  # [10, 5]
        swept = advance(
            self._poses[batch][:, None, None, :], curvature[:, None], lengths
        )  # [B, 10, 5 samples, 3]
        free, clearance = self._free(swept)
        discomfort = discomfort_of(clearance).mean(axis=-1)
        arrival = self._arrival[batch]
        changed = arrival[:, :1] * _DIRECTIONS < 0.0
        cost = (
            self._cost[batch][:, None]
            + PRIMITIVE_LENGTH * (1.0 + discomfort)
            + GEAR_CHANGE_COST * changed
            + STEER_CHANGE_COST * np.abs(arrival[:, 1:] - _STEERS)
        )
        keep = free.all(axis=-1)
        node, primitive = np.nonzero(keep)
        arrivals = np.column_stack([_DIRECTIONS[primitive], _STEERS[primitive]])
        self._add(swept[node, primitive, -1], cost[keep], arrivals, batch[node])

    def _shoot(self, batch: NDArray[np.int64]) -> None:
        """Try the cheapest Reeds-Shepp words from a batch of nodes to the start."""
        cost, length, steer = self._word_costs(batch)
        limit = math.inf if self._best is None else self._best.cost
        flat = cost.ravel()
        order = np.argpartition(flat, _SHOTS)[:_SHOTS]
        order = order[flat[order] < limit]
        if order.size == 0:
            return
        word, query = np.unravel_index(order, cost.shape)
        curvatures, lengths = steer[word] / TURNING_RADIUS, length[word, query]
        swept = sample_words(self._poses[batch[query]], curvatures, lengths, _CHECK_SPACING)
        free, clearance = self._free(swept)
        discomfort = discomfort_of(clearance).mean(axis=-1)
        totals = flat[order] + discomfort * np.abs(lengths).sum(axis=1)
        totals = np.where(free.all(axis=-1), totals, np.inf)
        winner = int(np.argmin(totals))
        if totals[winner] < limit:
            pairs = zip(curvatures[winner].tolist(), lengths[winner].tolist(), strict=True)
            arcs = [Arc(curvature, signed) for curvature, signed in pairs]
            self._best = _Shot(float(totals[winner]), int(batch[query[winner]]), arcs)

    def _word_costs(self, nodes: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Cost [W, Q] to the start over the words, their lengths [W, Q, 5] and steering [W, 5].

        Obstacles are not looked at yet, so the cost is a lower bound of the shot's.
        """
        start = self._ends.start
        poses = self._poses[nodes]
        dx, dy = start.x - poses[:, 0], start.y - poses[:, 1]
        cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        x, y = (cos * dx + sin * dy) / TURNING_RADIUS, (cos * dy - sin * dx) / TURNING_RADIUS
        words = reeds_shepp_words(x, y, start.yaw - poses[:, 2])
        steer = words.steer.astype(np.float64)
        direction, last_steer = self._arrival[nodes].T
        changes = gear_changes(words.length, direction, -float(self._ends.start_direction))
        turns = np.abs(np.diff(steer, axis=1, append=0.0)).sum(axis=1)
        cost = (
            self._cost[nodes]
            + words.total * TURNING_RADIUS
            + GEAR_CHANGE_COST * changes
            + STEER_CHANGE_COST * (turns[:, None] + np.abs(steer[:, :1] - last_steer))
        )
        return cost, words.length * TURNING_RADIUS, steer

    def _path(self, shot: _Shot) -> Path:
        """The path of a shot in the car's time: everything backwards and the other way."""
        backwards = [Arc(arc.curvature, -arc.length) for arc in reversed(shot.arcs)]
        node = shot.node
        while self._parent[node] >= 0:
            direction, steer = self._arrival[node].tolist()
            backwards.append(Arc(steer / TURNING_RADIUS, -direction * PRIMITIVE_LENGTH))
            node = int(self._parent[node])
        goal, root = self._ends.goal, self._poses[node]
        tail = math.hypot(goal.x - root[0], goal.y - root[1])
        return Path(self._ends.start, [*backwards, Arc(0.0, self._ends.goal_direction * tail)])
