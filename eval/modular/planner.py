"""From a map of what was seen to a goal in the slot and a path into it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import ClearanceField
from helmsight.envs.parking.expert.hybrid_astar import Ends, HybridAStar
from helmsight.envs.parking.expert.path import Path
from helmsight.eval.modular.occupancy import OccupancyGrid

Floats = NDArray[np.float64]

# The frame of the map is the target's, so a car that stands perfectly in the slot stands here.
SLOT = Pose(0.0, 0.0, 0.0)
_SHIFT_STEP = 0.05
_LAST_STRETCH = np.arange(0.0, 2.01, 0.25)  # metres out of the slot
# A metre of shift is paid for by a third of a metre of missing clearance, so that it goes to the
# middle between two neighbours where there is too little room for both, and no farther.
_MISSING_CLEARANCE_COST = 3.0


@dataclass(frozen=True)
class PlannerConfig:
    """What a plan keeps to.

    thresholds, margins, expansions: attempts, the next where one finds no plan. A cell is taken to
    be occupied from the threshold's probability on, so the first attempts keep away from what is
    only suspected; margins: least clearance in m; expansions: nodes that the search may expand.
    goal_clearance: what the goal keeps from neighbours where shifting it by max_lateral_shift and
    max_longitudinal_shift (m) can give it that. goal_distance (m), goal_yaw (deg): a car that
    stands so close to its goal has arrived.
    """

    thresholds: tuple[float, ...] = (0.1, 0.1, 0.25, 0.5, 0.8)
    margins: tuple[float, ...] = (0.2, 0.05, 0.1, 0.03, 0.0)
    expansions: tuple[int, ...] = (2000, 2000, 2000, 2500, 4000)
    goal_clearance: float = 0.3
    max_lateral_shift: float = 0.4
    max_longitudinal_shift: float = 0.2
    goal_distance: float = 0.25
    goal_yaw: float = 3.0

    def __post_init__(self) -> None:
        if not len(self.thresholds) == len(self.margins) == len(self.expansions) >= 1:
            raise ValueError(
                "an attempt needs a threshold, a margin and a number of expansions; got "
                f"{self.thresholds}, {self.margins} and {self.expansions}"
            )
        if not all(0.0 < threshold < 1.0 for threshold in self.thresholds):
            raise ValueError(f"thresholds must lie between 0 and 1, got {self.thresholds}")
        if min(self.expansions) < 1:
            raise ValueError(f"expansions must be 1 or more, got {self.expansions}")


class Plan(NamedTuple):
    """A path to a goal in the map's frame, and the threshold and margin that it was found with."""

    path: Path
    goal: Pose
    threshold: float
    margin: float


class ModularPlanner:
    """Plans in the target's frame. `direction`: 1 to enter the slot forwards, -1 in reverse."""

    def __init__(self, config: PlannerConfig, direction: int) -> None:
        self.config = config
        self.direction = direction

    def goal(self, field: ClearanceField) -> Pose:
        """Where in the slot to park: its middle, or as little aside as neighbours ask for."""
        along = _steps(self.config.max_longitudinal_shift)
        across = _steps(self.config.max_lateral_shift)
        x, y = (grid.ravel() for grid in np.meshgrid(along, across, indexing="ij"))
        best = int(np.argmin(self._goal_costs(field, x, y)))
        return Pose(float(x[best]), float(y[best]), 0.0)

    def regret(self, field: ClearanceField, goal: Pose) -> float:
        """How much worse than the best a goal has become with what is known now, in metres."""
        best = self.goal(field)
        x, y = np.array([goal.x, best.x]), np.array([goal.y, best.y])
        costs = self._goal_costs(field, x, y)
        return float(costs[0] - costs[1])

    def arrived(self, goal: Pose, car: Pose) -> bool:
        """Whether a car is close enough to its goal to stay there."""
        error = goal.relative(car)
        near = math.hypot(error.x, error.y) <= self.config.goal_distance
        return near and abs(error.yaw) <= math.radians(self.config.goal_yaw)

    def _goal_costs(self, field: ClearanceField, x: Floats, y: Floats) -> Floats:
        """Shift plus weighted missing clearance [N] of goals at x [N], y [N] in the slot."""
        poses = np.zeros((x.size, _LAST_STRETCH.size, 3))
        poses[..., 0] = x[:, None] - self.direction * _LAST_STRETCH
        poses[..., 1] = y[:, None]
        clearance = field.clearance(poses).min(axis=1)
        missing = np.maximum(self.config.goal_clearance - clearance, 0.0)
        return np.asarray(np.hypot(x, y) + _MISSING_CLEARANCE_COST * missing)

    def plan(self, occupancy: OccupancyGrid, car: Pose, rolling: int) -> Plan | None:
        """A plan from the car's pose, or None. `rolling`: direction of motion, 0 at rest."""
        config = self.config
        for threshold, margin, expansions in zip(
            config.thresholds, config.margins, config.expansions, strict=True
        ):
            field = occupancy.clearances(threshold)
            goal = self.goal(field)
            if self.arrived(goal, car):
                return Plan(Path(car, []), goal, threshold, margin)
            ends = Ends(car, rolling, goal, self.direction)
            path = HybridAStar(field, ends, margin).plan(expansions)
            if path is not None:
                return Plan(path, goal, threshold, margin)
        return None


def _steps(most: float) -> Floats:
    """Shifts from -most to most, the smallest first, so that ties keep to the middle."""
    count = round(most / _SHIFT_STEP)
    shifts = _SHIFT_STEP * np.arange(-count, count + 1)
    return np.asarray(shifts[np.argsort(np.abs(shifts), kind="stable")])
