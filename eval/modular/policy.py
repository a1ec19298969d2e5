"""The modular driver behind the surface of a policy, so that it can be evaluated like one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.footprint import ClearanceField
from helmsight.envs.parking.expert.path_tracker import PathTracker
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.task import task_instruction
from helmsight.envs.parking.vehicle import STATE
from helmsight.eval.modular.occupancy import OccupancyConfig, OccupancyGrid
from helmsight.eval.modular.perception import Perception
from helmsight.eval.modular.planner import ModularPlanner, Plan, PlannerConfig
from helmsight.policies.parking.config import SEMANTIC_SIZE

_BRAKE = -0.4
# From this measured speed on (m/s) the car's motion decides in which gear a plan starts.
_ROLLING_SPEED = 0.1
_STANDING_SPEED = 0.06
_SAMPLE_SPACING = 0.05  # m between the samples of a path
_WAYPOINT_SPACING = 20  # samples


@dataclass(frozen=True)
class ReplanConfig:
    """When a plan is given up for a new one.

    The map along the next look_ahead metres is looked at every `check_every` control periods. A
    path is blocked where its clearance has become less than blocked_clearance and less by
    lost_clearance (m) than it was when planned. off_path_distance (m), off_path_yaw (deg):
    tracking error. goal_regret: metres by which the goal of the path has become worse than the best
    one, looked at while more than goal_final metres are left to drive. pause: control periods that
    a plan is kept at least, unless it is blocked. look_first: pictures taken before the first plan.
    retry_every: control periods between two tries while no path is found.
    """

    check_every: int = 3
    look_ahead: float = 5.0
    blocked_clearance: float = 0.08
    lost_clearance: float = 0.08
    off_path_distance: float = 0.3
    off_path_yaw: float = 12.0
    goal_regret: float = 0.2
    goal_final: float = 1.5
    pause: int = 10
    look_first: int = 3
    retry_every: int = 5

    def __post_init__(self) -> None:
        for name in ("check_every", "pause", "look_first", "retry_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class ModularConfig:
    """Everything that the modular driver's behaviour depends on, beside what it sees."""

    occupancy: OccupancyConfig = field(default_factory=OccupancyConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    replan: ReplanConfig = field(default_factory=ReplanConfig)


class ModularPolicy:
    """Drives by what it sees and by the tracked target; no truth of the simulator enters.

    The observation's `task` says whether the slot is entered in reverse or forwards. Not a
    network: nothing of it is trained but what perceives.
    """

    def __init__(self, perception: Perception, config: ModularConfig) -> None:
        self.config = config
        self.embodiment = perception.embodiment
        self._perception = perception
        self.reset()

    def reset(self) -> None:
        """Forget the map and the plan: a new episode begins."""
        self._map = OccupancyGrid(self.config.occupancy)
        self._planner: ModularPlanner | None = None
        self._plan: Plan | None = None
        self._tracker: PathTracker | None = None
        self._planned_clearance = np.zeros(0, np.float32)
        self._since_plan = 0
        self._until_plan = self.config.replan.look_first
        self._car = Pose(0.0, 0.0, 0.0)
        self.plans_made = 0

    def observation_keys(self) -> list[str]:
        """Observation keys that a decision reads."""
        return [*self._perception.observation_keys(), "observation.state"]

    def select_action(self, observation: dict[str, Any]) -> Tensor:
        """The action [1, 3] for a batch of one observation and its task."""
        state = _measured(observation["observation.state"][0].cpu().numpy())
        if self._planner is None:
            direction = _entry_direction(observation["task"][0])
            self._planner = ModularPlanner(self.config.planner, direction)
        self._car = state.pose
        self._map.add(self._perception.obstacle_probability(observation), state.pose)
        command = self._act(self._planner, state)
        values = (command.acceleration, command.steer, float(command.reverse))
        return torch.tensor([values], dtype=torch.float32)

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """What counts as occupied around the car ("birds_eye") and the path ahead ("waypoints")."""
        rest = np.zeros((0, 3)) if self._tracker is None else self._tracker.remaining_poses()
        ahead = [self._car.relative(Pose(*pose)) for pose in rest[::_WAYPOINT_SPACING].tolist()]
        plan, thresholds = self._plan, self.config.planner.thresholds
        threshold = thresholds[-1] if plan is None else plan.threshold
        seen = self._map.around(self._car, SEMANTIC_SIZE)
        return {
            "birds_eye": np.asarray(seen >= threshold, np.uint8),
            "waypoints": np.array(ahead, np.float32).reshape(-1, 3),
        }

    def _act(self, planner: ModularPlanner, state: VehicleState) -> VehicleCommand:
        self._since_plan += 1
        self._until_plan = max(self._until_plan - 1, 0)
        if self._until_plan == 0 and self._must_plan(planner, state):
            self._make_plan(planner, state)
        if self._tracker is None or self._tracker.finished:
            return _hold(planner.direction)
        command = self._tracker.act(state)
        return _hold(planner.direction, command.steer) if self._tracker.finished else command

    def _must_plan(self, planner: ModularPlanner, state: VehicleState) -> bool:
        tracker, plan, rules = self._tracker, self._plan, self.config.replan
        if tracker is None or plan is None:
            return True
        kept_long = self._since_plan >= rules.pause
        if tracker.finished:
            arrived = planner.arrived(plan.goal, state.pose)
            return kept_long and not arrived and abs(state.speed) < _STANDING_SPEED
        if self._since_plan % rules.check_every == 0:
            clearances = self._map.clearances(plan.threshold)
            if self._blocked(tracker, clearances):
                return True
            unfinished = kept_long and self._left() > rules.goal_final
            if unfinished and planner.regret(clearances, plan.goal) > rules.goal_regret:
                return True
        off_path = abs(tracker.lateral_error) > rules.off_path_distance
        turned_off = abs(tracker.heading_error) > math.radians(rules.off_path_yaw)
        return kept_long and (off_path or turned_off)

    def _left(self) -> float:
        """Metres of the path that are still to be driven."""
        return (
            0.0 if self._tracker is None else _SAMPLE_SPACING * len(self._tracker.remaining_poses())
        )

    def _blocked(self, tracker: PathTracker, clearances: ClearanceField) -> bool:
        """Whether something has turned up on the path ahead."""
        rules, rest = self.config.replan, tracker.remaining_poses()
        if len(rest) == 0:
            return False
        samples = math.ceil(rules.look_ahead / _SAMPLE_SPACING)
        planned = self._planned_clearance[-len(rest) :][:samples]
        now = clearances.clearance(rest[:samples])
        lost = planned - now > rules.lost_clearance
        return bool(((now < rules.blocked_clearance) & lost).any())

    def _make_plan(self, planner: ModularPlanner, state: VehicleState) -> None:
        """Plan with the map as it is now; without a path the car brakes until the next try."""
        rolling = int(np.sign(state.speed)) if abs(state.speed) > _ROLLING_SPEED else 0
        self._plan = planner.plan(self._map, state.pose, rolling)
        self._since_plan = 0
        if self._plan is None:
            self._tracker = None
            self._until_plan = self.config.replan.retry_every
            return
        self.plans_made += 1
        self._tracker = PathTracker(self._plan.path)
        clearances = self._map.clearances(self._plan.threshold)
        self._planned_clearance = clearances.clearance(self._tracker.remaining_poses())


def _measured(state: NDArray[np.float32]) -> VehicleState:
    """The car's motion as its sensors and the tracked target tell it, in the target's frame."""
    values = dict(zip(STATE.names, map(float, state), strict=True))
    target = Pose(values["target_x"], values["target_y"], values["target_yaw"])
    return VehicleState(
        pose=target.relative(Pose(0.0, 0.0, 0.0)),
        speed=values["speed"],
        yaw_rate=values["yaw_rate"],
        acceleration=(values["acceleration_x"], values["acceleration_y"]),
        steering_angle=values["steering_angle"],
    )


def _entry_direction(task: str) -> int:
    """1 when the slot is to be entered forwards, -1 in reverse. Raises ValueError otherwise."""
    directions = {task_instruction("forward"): 1, task_instruction("reverse"): -1}
    if task not in directions:
        said = " or ".join(map(repr, directions))
        raise ValueError(f"the modular driver parks: its task must be {said}, got {task!r}")
    return directions[task]


def _hold(direction: int, steer: float = 0.0) -> VehicleCommand:
    # The gear of the approach stays engaged: success in reverse parking asks for it.
    return VehicleCommand(_BRAKE, steer, direction < 0)
