"""A last look before a car moves: is the way that it is about to take free in what it sees?

A policy's action is kept where it is, and otherwise changed as little as helps: another steering
angle, the brake, or a way back until there is room. Rules that overrule a learnt policy in unsafe
states are known as shielding (Alshiekh et al. 2018); this one knows only what the policy itself
sees or remembers, and is as good as that. It works on batches, and is exported with the policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.policies.modules.lone_things import lone_things

# Metres to all sides that are looked at for whether something stands alone.
AROUND = 1.0


@dataclass(frozen=True)
class CourseGuardConfig:
    """What the guard looks at and what it does. Metres, seconds, radians.

    threshold: probability from which on a place counts as occupied. margin: about the body. widen:
    by how much things that stand alone, such as boxes, are widened: eyes show less of them than of
    cars, and where nothing stands beside them there is room to spare.
    horizon: time ahead in which the policy's own way is looked at. room: way ahead that must be
    free before a car that backs off goes on. back_off: length of the way back that is looked at.
    gentle: acceleration, as an action, where the guard changes the steering, and of the way back.
    set_off: acceleration with which a car that stands on its way with its wheels turned sets off; a
    clone of an expert that waits for its wheels can wait for ever. on_its_way: distance from the
    target beyond which it is on its way.
    """

    enabled: bool = False
    threshold: float = 0.5
    margin: float = 0.05
    widen: float = 0.0
    horizon: float = 1.1
    room: float = 1.5
    back_off: float = 0.8
    gentle: float = 0.3
    set_off: float = 0.4
    on_its_way: float = 0.8
    wheelbase: float = 2.9
    max_steering_angle: float = 0.61
    steering_rate: float = 1.5
    steers: int = 17
    escapes: int = 9
    samples: int = 8

    def __post_init__(self) -> None:
        if not 0.0 <= self.widen <= AROUND:
            raise ValueError(f"widen must be 0 to {AROUND:g} m, got {self.widen}")


class Situation(NamedTuple):
    """What the guard knows, each [B] but `occupied` [B, S, S], the probability of an obstacle.

    speed in m/s, negative backwards; steering angle of the wheels in radians; travel: metres that
    the policy means to go within the horizon; distance to the target in metres.
    """

    occupied: Tensor
    speed: Tensor
    steering: Tensor
    travel: Tensor
    distance: Tensor


class Motion(NamedTuple):
    """Poses along ways, [B, M, T] each, and the steering angle [B, M] at their ends."""

    x: Tensor
    y: Tensor
    yaw: Tensor
    steering: Tensor


STANDING, UNDER_WAY, ROLLING = 0.05, 0.05, 0.1
# A car as slow as this that brakes is left to it.
STOPPING = 0.25
WHEELS_TURNED = 0.12
LEAST_TRAVEL = 0.15
BACKING_SPEED = 0.8


class CourseGuard(nn.Module):
    """Actions [B, 3] (acceleration, steer, reverse) and a `Situation` to guarded actions [B, 3].

    front, rear, width: the body's outline about the rear axle. extent: of the bird's eye in metres.
    """

    outline: Tensor

    def __init__(
        self, config: CourseGuardConfig, front: float, rear: float, width: float, extent: float
    ) -> None:
        super().__init__()
        self.config, self.extent = config, extent
        outline = _outline(front + config.margin, rear + config.margin, width / 2.0 + config.margin)
        self.register_buffer("outline", outline, persistent=False)  # [P, 2]

    def forward(self, action: Tensor, situation: Situation) -> Tensor:
        config = self.config
        if config.widen > 0.0:
            situation = situation._replace(occupied=self._widened(situation.occupied))
        action = self._setting_off(action, situation)
        acceleration, steer, reverse = action.unbind(dim=1)
        forwards = 1.0 - 2.0 * (reverse >= 0.5).to(action.dtype)  # [B], 1 or -1
        speed = situation.speed
        steers = torch.linspace(-1.0, 1.0, config.steers, device=action.device)
        # The policy's own steering first, then the others: [B, M]
        steers = torch.cat([steer[:, None], steers.expand(len(steer), -1)], dim=1)
        backs = speed * forwards < -UNDER_WAY  # still under way in the other gear
        travel = torch.where(backs, config.room, situation.travel.clamp(min=LEAST_TRAVEL))
        way = self.ways(situation.steering, steers, (forwards * travel)[:, None])
        free = self._hits(situation, way) == 0.0  # [B, M]
        some = free.any(dim=1)
        # Measured speeds of a car that stands are not 0, and tell nothing of its gear.
        stays = (speed.abs() < STOPPING) & (acceleration <= 0.0)
        keeps = stays | (backs & some) | (~backs & free[:, 0])

        nearest = torch.where(free, (steers - steer[:, None]).abs(), torch.inf).argmin(dim=1)
        turned = steers.gather(1, nearest[:, None])[:, 0]
        instead = torch.stack([acceleration.clamp(max=config.gentle), turned, reverse], dim=1)
        turnable = some & ~backs
        # Ways back are costly to look at. While it is exported nothing may depend on values.
        if torch.jit.is_tracing() or not bool((keeps | turnable).all()):
            brakes = torch.stack([torch.full_like(steer, -1.0), steer, reverse], dim=1)
            escapes = self._escape(situation, steer, forwards, brakes)
            rolls = (speed.abs() > ROLLING) & ~backs
            escapes = torch.where(rolls[:, None], brakes, escapes)
            instead = torch.where(turnable[:, None], instead, escapes)
        return torch.where(keeps[:, None], action, instead)

    def _widened(self, occupied: Tensor) -> Tensor:
        """Probabilities [B, S, S] with those of things that stand alone spread over `widen`."""
        cell = 2.0 * self.extent / int(occupied.shape[1])  # a tensor, while it is exported
        beside, around = (round(length / cell) for length in (self.config.widen, AROUND))
        lone = lone_things(occupied[:, None], around)  # one channel: as it can be exported
        spread = functional.max_pool2d(lone, 2 * beside + 1, 1, beside)
        return torch.maximum(occupied, spread[:, 0])

    def _setting_off(self, action: Tensor, situation: Situation) -> Tensor:
        config = self.config
        wheels = action[:, 1] * config.max_steering_angle - situation.steering
        stands = (situation.speed.abs() < STANDING) & (wheels.abs() < WHEELS_TURNED)
        stands = stands & (situation.distance > config.on_its_way)
        faster = action[:, 0].clamp(min=config.set_off)
        acceleration = torch.where(stands, faster, action[:, 0])
        return torch.cat([acceleration[:, None], action[:, 1:]], dim=1)

    def _escape(
        self, situation: Situation, steer: Tensor, forwards: Tensor, brakes: Tensor
    ) -> Tensor:
        """Back off in the other gear, by the way back after which the way on is freest.

        [B, 3]; where every way back is blocked too, `brakes`.
        """
        config = self.config
        steers = torch.linspace(-1.0, 1.0, config.escapes, device=steer.device)
        back = self.ways(
            situation.steering,
            steers.expand(len(steer), -1),
            (-forwards * config.back_off)[:, None],
        )
        blocked = self._hits(situation, back) > 0.0  # [B, E]
        # After each way back, each way on: [B, E, 1] x [E] -> [B, E * E]
        ends = [part[..., -1].repeat_interleave(config.escapes, dim=1) for part in back[:3]]
        onward = self.ways(
            back.steering.repeat_interleave(config.escapes, dim=1),
            steers.repeat(config.escapes).expand(len(steer), -1),
            (forwards * config.room)[:, None],
            (ends[0], ends[1], ends[2]),
        )
        turn = (steers - steer[:, None]).abs()  # [B, E]
        cost = self._hits(situation, onward).unflatten(1, (config.escapes, -1))  # [B, E, E]
        cost = (cost + 0.1 * turn[:, None]).amin(dim=2) + 1e3 * blocked  # [B, E]
        chosen = steers[cost.argmin(dim=1)]
        slow = situation.speed.abs() < BACKING_SPEED
        escape = torch.stack(
            [config.gentle * slow.to(steer.dtype), chosen, (forwards > 0.0).to(steer.dtype)], dim=1
        )
        return torch.where(blocked.all(dim=1)[:, None], brakes, escape)

    def ways(
        self,
        steering: Tensor,
        steers: Tensor,
        travel: Tensor,
        start: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Motion:
        """Ways of a bicycle over `travel` [B, 1] metres with the wheels turning to `steers` [B, M].

        steering: angle of the wheels at the start, [B], or [B, M] with `start` poses [B, M].
        """
        config = self.config
        angle = steering if steering.ndim == 2 else steering[:, None].expand_as(steers)
        x, y, yaw = start or (torch.zeros_like(steers),) * 3
        turn = config.steering_rate * config.horizon / config.samples
        step = travel / config.samples
        xs, ys, yaws = [x], [y], [yaw]
        for _ in range(config.samples):
            wanted = steers * config.max_steering_angle
            angle = angle + (wanted - angle).clamp(-turn, turn)
            yaw = yaw + step * torch.tan(angle) / config.wheelbase
            x, y = x + step * torch.cos(yaw), y + step * torch.sin(yaw)
            xs, ys, yaws = [*xs, x], [*ys, y], [*yaws, yaw]
        return Motion(torch.stack(xs, 2), torch.stack(ys, 2), torch.stack(yaws, 2), angle)

    def _hits(self, situation: Situation, way: Motion) -> Tensor:
        """How many points of the outline are in something at the worst place of each way, [B, M].

        What is touched already where the car stands, and half as much, is not counted.
        """
        origin = torch.zeros_like(way.x[:, :1, :1])  # [B, 1, 1]
        here = Motion(origin, origin, origin, way.steering[:, :1])
        already = self.touched(situation.occupied, here)[:, :, 0]  # [B, 1]
        touched = self.touched(situation.occupied, way).amax(dim=2)  # [B, M]
        return (touched - 1.5 * already).clamp(min=0.0)

    def touched(self, occupied: Tensor, way: Motion) -> Tensor:
        """Points of the outline that are in something at each pose, [B, M, T]."""
        cos, sin = way.yaw.cos()[..., None], way.yaw.sin()[..., None]  # [B, M, T, 1]
        along, across = self.outline.unbind(dim=1)  # [P]
        x = way.x[..., None] + cos * along - sin * across  # [B, M, T, P]
        y = way.y[..., None] + sin * along + cos * across
        # grid_sample's axes: first the column (y = +extent is -1), then the row (x = +extent).
        places = torch.stack([-y, -x], dim=-1).flatten(1, 3) / self.extent  # [B, M T P, 2]
        chance = functional.grid_sample(occupied[:, None], places[:, :, None], align_corners=False)
        inside = (chance[:, 0, :, 0] > self.config.threshold).to(occupied.dtype)
        return inside.view(x.shape).sum(dim=3)


def _outline(front: float, rear: float, half_width: float, spacing: float = 0.3) -> Tensor:
    """Points [P, 2] around a rectangle, at most `spacing` apart."""
    along = torch.linspace(-rear, front, math.ceil((front + rear) / spacing) + 1)
    across = torch.linspace(-half_width, half_width, math.ceil(2.0 * half_width / spacing) + 1)
    sides = [torch.stack([along, torch.full_like(along, s * half_width)], 1) for s in (-1, 1)]
    ends = [torch.stack([torch.full_like(across, end), across], 1) for end in (-rear, front)]
    return torch.cat([*sides, *ends])
