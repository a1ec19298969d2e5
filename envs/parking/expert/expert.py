"""The parking expert: plans with knowledge of the whole lot and drives the plan."""

from __future__ import annotations

import math

import numpy as np

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import ClearanceMap
from helmsight.envs.parking.expert.goal import parking_goal
from helmsight.envs.parking.expert.hybrid_astar import Ends, HybridAStar
from helmsight.envs.parking.expert.path import Path
from helmsight.envs.parking.expert.path_tracker import PathTracker
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState

# Least clearance of a plan in metres and the nodes that the search may expand for it; the next is
# tried where no plan is found. Plans keep much more where there is room.
ATTEMPTS = ((0.15, 2500), (0.08, 15_000))
# Farther off its path than this the car plans anew.
OFF_PATH_DISTANCE = 0.3
OFF_PATH_YAW = math.radians(12.0)
# How well the car must stand in the goal, and how slow is standing (1e-3 km/h).
GOAL_DISTANCE = 0.25
GOAL_YAW = math.radians(3.0)
STANDING_SPEED = 1e-3 / 3.6

_BRAKE = -0.4
_MAX_REPLANS = 5
# From this speed on the car's motion decides in which gear a plan starts most cheaply.
_ROLLING_SPEED = 0.1


class PlanningFailure(RuntimeError):
    """There is no collision-free path, for the reason given."""


class ParkingExpert:
    """Parks the car of one scenario. Deterministic; knows what no policy may know.

    Call `plan` from where the car is, at the start and whenever something else has driven it; then
    `act` once a control period until `done`, and as long as the car shall hold still.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.goal: Pose = parking_goal(scenario)
        self.path: Path | None = None
        self.margin = ATTEMPTS[0][0]
        self._clearances = ClearanceMap(scenario)
        self._direction = -1 if scenario.approach == "reverse" else 1
        self._tracker: PathTracker | None = None
        self._replans = 0

    def plan(self, state: VehicleState) -> None:
        """Plan from the car's true pose. Raises PlanningFailure when there is no path."""
        self._replans = 0
        self._make_plan(state)

    def act(self, state: VehicleState) -> VehicleCommand:
        """The command for the next control period; brakes in the goal."""
        if self._tracker is None:
            self.plan(state)
        assert self._tracker is not None
        if self._must_replan(self._tracker, state):
            self._replans += 1
            try:
                self._make_plan(state)
            except PlanningFailure:
                # The old path is still the best there is.
                self._replans = _MAX_REPLANS
        if self._tracker.finished:
            return self._hold()
        command = self._tracker.act(state)
        return self._hold(command.steer) if self._tracker.finished else command

    def done(self, state: VehicleState) -> bool:
        """Whether the car stands still in the goal."""
        return abs(state.speed) < STANDING_SPEED and self._in_goal(state.pose)

    def _hold(self, steer: float = 0.0) -> VehicleCommand:
        # The gear of the approach stays engaged: success in reverse parking asks for it.
        return VehicleCommand(_BRAKE, steer, self._direction < 0)

    def _in_goal(self, pose: Pose) -> bool:
        error = self.goal.relative(pose)
        near = math.hypot(error.x, error.y) <= GOAL_DISTANCE
        return near and abs(error.yaw) <= GOAL_YAW

    def _must_replan(self, tracker: PathTracker, state: VehicleState) -> bool:
        if self._replans >= _MAX_REPLANS:
            return False
        if tracker.finished:
            return abs(state.speed) < STANDING_SPEED and not self._in_goal(state.pose)
        off_path = abs(tracker.lateral_error) > OFF_PATH_DISTANCE
        return off_path or abs(tracker.heading_error) > OFF_PATH_YAW

    def _make_plan(self, state: VehicleState) -> None:
        if self.done(state):
            self._follow(Path(state.pose, []))
            return
        clearance = self._clearances.clearance_at(state.pose)
        if clearance < -0.05:
            raise PlanningFailure(
                f"the car stands in an obstacle: it overlaps by about {-clearance:.2f} m"
            )
        rolling = abs(state.speed) > _ROLLING_SPEED
        direction = int(np.sign(state.speed)) if rolling else 0
        ends = Ends(state.pose, direction, self.goal, self._direction)
        for margin, expansions in ATTEMPTS:
            path = HybridAStar(self._clearances, ends, margin).plan(expansions)
            if path is not None:
                self.margin = margin
                self._follow(path)
                return
        scenario = self.scenario
        raise PlanningFailure(
            f"no path from {_said(state.pose)} to {_said(self.goal)} was found that keeps "
            f"{margin} m from all obstacles in {scenario.family} {scenario.split} {scenario.index}"
        )

    def _follow(self, path: Path) -> None:
        self.path, self._tracker = path, PathTracker(path)


def _said(pose: Pose) -> str:
    return f"({pose.x:.2f} m, {pose.y:.2f} m, {math.degrees(pose.yaw):.0f} deg)"
