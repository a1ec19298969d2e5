"""A way out for a car that gets no farther: it plans past what it remembers, and drives the plan.

A policy decides for the moment, and so can go to and fro before a gap for ever. Where the car has
hardly moved for some seconds, this part plans (`CostToGo`) on the map of what was seen and takes
the wheel until the car is parked: at each decision it takes the arc, of those that touch nothing,
after which the least is left to drive. What it knows from decision to decision is a tensor that
goes in and comes out, as `MapMemory`'s is.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helmsight.policies.modules.birds_eye import in_frame
from helmsight.policies.modules.cost_to_go import BLOCKED, CostToGo, CostToGoConfig, Poses
from helmsight.policies.modules.course_guard import (
    CourseGuard,
    CourseGuardConfig,
    Motion,
    Situation,
)
from helmsight.policies.modules.map_memory import Body

# Beside the costs to go: see `Progress`.
_ENTRIES = 8
# A car slower than this stands (m/s); wheels farther than this (rad) from where they are wanted are
# turned before it moves on, where it is slower than that (m/s).
STANDING, WHEELS_TURNED, CRAWLING = 0.06, 0.2, 0.4
# Accelerations, as actions: of a car that drives, that waits for its wheels, that still rolls in
# the other gear.
DRIVE, WAIT, BRAKE = 0.35, -0.3, -1.0


@dataclass(frozen=True)
class WayOutConfig:
    """When the wheel is taken, and how it is driven. Metres, m/s, radians, probabilities.

    after: decisions after which a car that stayed `within` and is `slow` is stuck, if it is farther
    than `on_its_way` from its target. again: decisions between two plans.
    speed: at which it drives. steers: steering angles that are looked at, for arcs as long as
    `look`. hesitation: costs to go by which the other gear must be better, beside what changing it
    costs in the plan.
    careful, margin: no arc may touch what is occupied with that probability, by the body and so
    much about it (what stands alone is not widened here); bold, bold_margin: the same where it
    found no way, or got no farther itself.
    arrived, arrived_aside, arrived_yaw: from the target within which the car stops.
    """

    enabled: bool = False
    after: int = 30
    within: float = 0.3
    on_its_way: float = 0.8
    slow: float = 0.3
    again: int = 5
    speed: float = 1.2
    steers: int = 11
    look: float = 0.6
    careful: float = 0.35
    margin: float = 0.2
    bold: float = 0.5
    bold_margin: float = 0.1
    hesitation: float = 1.0
    arrived: float = 0.7
    arrived_aside: float = 0.55
    arrived_yaw: float = 0.1
    costs: CostToGoConfig = field(default_factory=CostToGoConfig)

    def __post_init__(self) -> None:
        for name, least in (("after", 1), ("again", 1), ("steers", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"way_out.{name} must be {least} or more, got {self}")
        for name in ("within", "speed", "look"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"way_out.{name} must be above 0, got {self}")
        if not 0.0 <= self.hesitation < 2.0 * self.look:
            # Another arc in the wrong gear costs two arcs: it would be put off for ever.
            raise ValueError(f"way_out.hesitation must be 0 to less than 2 look, got {self}")


class Surroundings(NamedTuple):
    """Target poses [B, 3] in the vehicle's frame, and what stands about them.

    occupied [B, S, S]: probabilities over +-half_extent metres, rows along the target's y.
    """

    target: Tensor
    occupied: Tensor
    half_extent: float


class Progress(NamedTuple):
    """What is known of how the car gets on, [B] each.

    anchor_x, anchor_y: where it has stayed since `stayed` decisions; known: 1 after the first
    decision. taken: 1 while this part has the wheel. reverse: 1 where that gear is engaged. age:
    decisions since the last plan. bold: 1 where only what is surely occupied is in the way.
    """

    anchor_x: Tensor
    anchor_y: Tensor
    known: Tensor
    stayed: Tensor
    taken: Tensor
    reverse: Tensor
    age: Tensor
    bold: Tensor


class Choice(NamedTuple):
    """The best action [B, 3], what is left to drive after it [B], and whether it is in reverse."""

    action: Tensor
    left: Tensor
    reverse: Tensor


class WayOut(nn.Module):
    """See the module's docstring. extent: of the bird's eye around the car, in metres."""

    steers: Tensor

    def __init__(
        self, config: WayOutConfig, guard: CourseGuardConfig, body: Body, extent: float
    ) -> None:
        super().__init__()
        self.config, self.body = config, body
        careful = dataclasses.replace(guard, threshold=config.careful, margin=config.margin)
        bold = dataclasses.replace(guard, threshold=config.bold, margin=config.bold_margin)
        self.guard = CourseGuard(bold, *body, extent)
        self.careful = CourseGuard(careful, *body, extent)
        self.costs = CostToGo(config.costs, body)
        self.register_buffer("steers", torch.linspace(-1.0, 1.0, config.steers), persistent=False)

    @property
    def size(self) -> int:
        """Numbers M in what is handed on: costs to go and `Progress`."""
        return math.prod(self.config.costs.size) + _ENTRIES

    def forward(
        self, action: Tensor, situation: Situation, surroundings: Surroundings, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Actions [B, 3] (acceleration, steer, reverse), and the memory [B, M] that is handed on.

        action: the policy's, which is kept where the car is not stuck.
        """
        config = self.config
        progress = Progress(*memory[:, -_ENTRIES:].unbind(dim=1))
        car = own_pose(surroundings.target)
        progress = self._followed(progress, car, situation, action)
        taken = progress.taken > 0.5
        waits = progress.stayed >= config.after
        stuck = waits & (situation.speed.abs() < config.slow)
        stuck = stuck & (situation.distance > config.on_its_way) & ~taken
        on_its_way = taken & ~self._arrived(car)
        # Where it gets no farther itself, it is bold, or careful again.
        changes = on_its_way & waits
        wanted = stuck | changes | (on_its_way & (progress.age >= config.again))
        progress = progress._replace(
            stayed=torch.where(stuck | changes, 0.0, progress.stayed),
            age=torch.where(wanted, 0.0, progress.age + 1.0),
            bold=torch.where(changes, 1.0 - progress.bold, progress.bold * progress.taken),
        )
        # While it is exported nothing may depend on values; else most decisions need no more.
        if not torch.jit.is_tracing() and not bool((stuck | taken).any()):
            return action, torch.cat([memory[:, :-_ENTRIES], torch.stack(progress, 1)], dim=1)

        old = memory[:, :-_ENTRIES].unflatten(1, config.costs.size)
        occupied = surroundings.occupied, surroundings.half_extent
        costs = self.costs(*occupied, self._own(car), progress.bold, wanted, old)
        driven, progress = self._led(costs, situation, car, progress, stuck)
        handed_on = torch.cat([costs.flatten(1), torch.stack(progress, dim=1)], dim=1)
        return torch.where(progress.taken[:, None] > 0.5, driven, action), handed_on

    def _led(
        self, costs: Tensor, situation: Situation, car: Poses, progress: Progress, stuck: Tensor
    ) -> tuple[Tensor, Progress]:
        """What it does [B, 3] where it has the wheel, and whether it has, in the progress."""
        choice = self._choose(costs, situation, car, progress)
        arrived = self._arrived(car)
        lost = (choice.left >= BLOCKED / 2.0) & ~arrived
        mine = (stuck & ~arrived) | (progress.taken > 0.5)
        dares = mine & lost & (progress.bold < 0.5)  # plans once more, boldly
        held = mine & (~lost | dares)
        # In reverse, as a car that parked backwards must stop; one that came forwards may as well.
        reverse = torch.where(arrived, 1.0, torch.where(lost, progress.reverse, choice.reverse))
        wheels = situation.steering / self.guard.config.max_steering_angle
        stop = torch.stack([torch.full_like(wheels, BRAKE), wheels.clamp(-1.0, 1.0), reverse], 1)
        driven = torch.where((arrived | lost)[:, None], stop, choice.action)
        return driven, progress._replace(
            taken=held.to(driven.dtype),
            reverse=torch.where(held, reverse, progress.reverse),
            age=torch.where(dares, float(self.config.again), progress.age),
            bold=torch.where(dares, 1.0, progress.bold),
        )

    def _followed(
        self, progress: Progress, car: Poses, situation: Situation, action: Tensor
    ) -> Progress:
        """Progress with the car where it is now."""
        away = torch.hypot(car.x - progress.anchor_x, car.y - progress.anchor_y)
        stays = (progress.known > 0.5) & (away < self.config.within)
        asked = (action[:, 2] >= 0.5).to(action.dtype)
        reverse = torch.where(progress.taken > 0.5, progress.reverse, asked)
        backwards = (situation.speed < 0.0).to(action.dtype)
        return progress._replace(
            anchor_x=torch.where(stays, progress.anchor_x, car.x),
            anchor_y=torch.where(stays, progress.anchor_y, car.y),
            known=torch.ones_like(car.x),
            stayed=torch.where(stays, progress.stayed + 1.0, 0.0),
            reverse=torch.where(situation.speed.abs() > STANDING, backwards, reverse),
        )

    def _arrived(self, car: Poses) -> Tensor:
        config = self.config
        near = (car.x.abs() < config.arrived) & (car.y.abs() < config.arrived_aside)
        yaw = torch.atan2(car.yaw.sin(), car.yaw.cos())
        return near & (yaw.abs() < config.arrived_yaw)

    def _own(self, car: Poses) -> Tensor:
        """1 in the cells of the costs to go where the car itself stands, [B, N, N]."""
        places = self.costs.places  # [N, N, 2]
        ahead, aside = in_frame(places.flatten(0, 1), torch.stack(car, dim=1))  # [B, N * N] each
        inside = (ahead < self.body.front) & (ahead > -self.body.rear)
        inside = inside & (aside.abs() < self.body.width / 2.0)
        return inside.to(ahead.dtype).unflatten(1, places.shape[:2])

    def _choose(
        self, costs: Tensor, situation: Situation, car: Poses, progress: Progress
    ) -> Choice:
        """The arc after which the least is left to drive, in the engaged gear or the other one."""
        config, reverse = self.config, progress.reverse
        steers = self.steers.expand(len(reverse), -1)  # [B, E]
        x, y, yaw = (entry[:, None] for entry in car)  # [B, 1]
        totals = []
        for index, direction in enumerate((1.0, -1.0)):
            travel = torch.full_like(x, direction * config.look)
            way = self.guard.ways(situation.steering, steers, travel)
            ahead, aside, turned = (part[..., -1] for part in way[:3])  # [B, E]
            end = Poses(
                x + yaw.cos() * ahead - yaw.sin() * aside,
                y + yaw.sin() * ahead + yaw.cos() * aside,
                yaw + turned,
            )
            hits = self._touches_more(self.guard, situation, way)
            near = self._touches_more(self.careful, situation, way)
            hits = torch.maximum(hits, near * (1.0 - progress.bold)[:, None])
            changes = ((reverse > 0.5).float() - index).abs()[:, None]  # [B, 1], 1 for the other
            change = (config.costs.gear_change + config.hesitation) * changes
            totals.append(self.costs.at(costs, end)[:, index] + change + BLOCKED * hits)
        left, best = torch.cat(totals, dim=1).min(dim=1)  # [B, 2 E]
        chosen = (best >= config.steers).to(reverse.dtype)
        steer = torch.cat([steers, steers], dim=1).gather(1, best[:, None])[:, 0]
        return Choice(self._action(situation, steer, chosen), left, chosen)

    @staticmethod
    def _touches_more(guard: CourseGuard, situation: Situation, way: Motion) -> Tensor:
        """1 for ways that touch more than the car does where it stands, [B, E].

        A car that touches something already may go where it touches no more.
        """
        touched = guard.touched(situation.occupied, way)  # [B, E, T]
        return (touched.amax(dim=2) > touched[:, :, 0]).to(touched.dtype)

    def _action(self, situation: Situation, steer: Tensor, reverse: Tensor) -> Tensor:
        """Drive gently, with the wheels turned as they should be, [B, 3]."""
        speed = situation.speed * (1.0 - 2.0 * reverse)  # along the gear
        wheels = steer * self.guard.config.max_steering_angle - situation.steering
        acceleration = (self.config.speed - speed).clamp(WAIT, DRIVE)
        waits = (wheels.abs() > WHEELS_TURNED) & (speed < CRAWLING)
        acceleration = torch.where(waits, WAIT, acceleration)
        acceleration = torch.where(speed < -STANDING, BRAKE, acceleration)
        return torch.stack([acceleration, steer, reverse], dim=1)


def own_pose(target: Tensor) -> Poses:
    """The car in the frame of target poses [B, 3] that are in the car's frame, [B] each."""
    x, y, yaw = target.unbind(dim=1)
    cos, sin = yaw.cos(), yaw.sin()
    return Poses(-(cos * x + sin * y), sin * x - cos * y, -yaw)
