"""The parking expert: plans with knowledge of the whole lot and drives the plan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.cost_to_go import GEAR_CHANGE_COST
from helmsight.envs.parking.expert.footprint import ClearanceMap
from helmsight.envs.parking.expert.goal import parking_goal
from helmsight.envs.parking.expert.hybrid_astar import Ends, HybridAStar, discomfort_of
from helmsight.envs.parking.expert.path import Path
from helmsight.envs.parking.expert.path_tracker import LEG_END, PathTracker
from helmsight.envs.parking.expert.straight_in import MOVING_SPEED, straight_in
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState

# Least clearance of a plan in metres and the nodes that the search may expand for it; the next is
# tried where no plan is found. Plans keep much more where there is room.
ATTEMPTS = ((0.15, 2500), (0.08, 15_000))
# Control periods from plan to plan, and after a search that found none. What the expert does shall
# follow from what a learner sees, so it makes its plan anew and takes the new one where that saves
# something; between two as good as each other it goes on as it began.
PLAN_PERIOD, PERIOD_AFTER_FAILURE = 10, 20
LEAST_SAVING = 0.5  # m
# How well the car must stand in the goal, and how slow is standing (1e-3 km/h).
GOAL_DISTANCE = 0.25
GOAL_YAW = math.radians(3.0)
STANDING_SPEED = 1e-3 / 3.6

_BRAKE = -0.4


class PlanningFailure(RuntimeError):
    """There is no collision-free path, for the reason given."""


class ParkingExpert:
    """Parks the car of one scenario. Deterministic; knows what no policy may know.

    Call `plan` from where the car is, at the start and whenever something else has driven it; then
    `act` once a control period until `done`, and as long as the car shall hold still. It plans anew
    once a second and at once where it has left its path; where that finds none it drives on.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.goal: Pose = parking_goal(scenario)
        self._clearances = ClearanceMap(scenario)
        self._direction = -1 if scenario.approach == "reverse" else 1
        self._tracker: PathTracker | None = None
        self._until_plan = 0

    @property
    def path(self) -> Path | None:
        """The path that is being driven; None before the first plan."""
        return None if self._tracker is None else self._tracker.path

    def plan(self, state: VehicleState) -> None:
        """Plan from the car's true pose. Raises PlanningFailure when there is no path."""
        self._tracker = PathTracker(self._planned(state))
        self._until_plan = PLAN_PERIOD

    def act(self, state: VehicleState) -> VehicleCommand:
        """The command for the next control period; brakes in the goal."""
        if self._tracker is None:
            self.plan(state)
        elif self._plan_is_due(self._tracker, state):
            self._tracker = self._better(self._tracker, state)
        self._until_plan -= 1
        assert self._tracker is not None
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

    def _plan_is_due(self, tracker: PathTracker, state: VehicleState) -> bool:
        if tracker.finished:
            lost = abs(state.speed) < STANDING_SPEED and not self._in_goal(state.pose)
        else:
            lost = tracker.off_path
        failed_lately = self._until_plan > PLAN_PERIOD
        return self._until_plan <= 0 or (lost and not failed_lately)

    def _better(self, old: PathTracker, state: VehicleState) -> PathTracker:
        """A new plan's tracker, where it saves something or the old path is left; or the old."""
        old.locate(state)
        try:
            new = PathTracker(self._planned(state))
        except PlanningFailure:
            self._until_plan = PERIOD_AFTER_FAILURE
            return old
        self._until_plan = PLAN_PERIOD
        new.locate(state)
        if old.finished or old.off_path:
            return new
        saved = np.subtract(self._ahead(old, state), self._ahead(new, state))
        return new if saved.min() >= LEAST_SAVING else old

    def _ahead(self, tracker: PathTracker, state: VehicleState) -> tuple[float, float]:
        """What is still to be driven, in m with gear changes, and the same with its discomfort.

        A way that is shorter but narrower saves nothing, nor does a wider one near the goal, whose
        end would be less straight.
        """
        poses = tracker.remaining_poses()
        if len(poses) < 2:
            return 0.0, 0.0
        length = float(np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1).sum())
        discomfort = float(discomfort_of(self._clearances.clearance(poses)).mean())
        changes = GEAR_CHANGE_COST * tracker.remaining_gear_changes(state.speed)
        return length + changes, length * (1.0 + discomfort) + changes

    def _planned(self, state: VehicleState) -> Path:
        if self.done(state) or self._has_arrived(state):
            return Path(state.pose, [])
        straight = straight_in(self.goal, self._direction, state)
        if straight is not None and self._is_free(straight.poses):
            return straight.path
        return self._searched(state)

    def _has_arrived(self, state: VehicleState) -> bool:
        """Whether the car is in the goal, and as deep in the slot as it shall be."""
        past = self._direction * self.goal.relative(state.pose).x
        return self._in_goal(state.pose) and past > -LEG_END

    def _is_free(self, poses: NDArray[np.float64]) -> bool:
        """Whether poses [T, 3] on the way in keep a plan's margin, or what the goal leaves."""
        room = min(ATTEMPTS[-1][0], self._clearances.clearance_at(self.goal) - 0.03)
        return bool(self._clearances.clearance(poses).min() >= room)

    def _searched(self, state: VehicleState) -> Path:
        clearance = self._clearances.clearance_at(state.pose)
        if clearance < -0.05:
            raise PlanningFailure(
                f"the car stands in an obstacle: it overlaps by about {-clearance:.2f} m"
            )
        rolling = abs(state.speed) > MOVING_SPEED
        direction = int(np.sign(state.speed)) if rolling else 0
        ends = Ends(state.pose, direction, self.goal, self._direction)
        for margin, expansions in ATTEMPTS:
            path = HybridAStar(self._clearances, ends, margin).plan(expansions)
            if path is not None:
                return path
        scenario = self.scenario
        raise PlanningFailure(
            f"no path from {_said(state.pose)} to {_said(self.goal)} was found that keeps "
            f"{margin} m from all obstacles in {scenario.family} {scenario.split} {scenario.index}"
        )


def _said(pose: Pose) -> str:
    return f"({pose.x:.2f} m, {pose.y:.2f} m, {math.degrees(pose.yaw):.0f} deg)"
