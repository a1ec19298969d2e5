"""What is left to drive from every pose around a target, past what stands there.

A map of obstacles about the target is turned into the cost of the cheapest way to it from each
pose of a lattice (x, y, heading) in each gear, by value iteration over short arcs: full lock left,
straight on, full lock right, forwards and backwards (the motion primitives of Dolgov et al. 2010,
Hybrid A*). One iteration is one grouped convolution, whose kernels hold where an arc ends between
the lattice's points, so all poses are planned from at once, and what is planned is exported with a
policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from helmsight.policies.modules.map_memory import Body

# The cost of what cannot be driven.
BLOCKED = 200.0
# Arcs of each gear: full lock right, straight on, full lock left.
_TURNS = (-1, 0, 1)
_GEARS = (1, -1)


@dataclass(frozen=True)
class CostToGoConfig:
    """The lattice, and what ways cost. Metres, and probabilities of being occupied.

    half_extent, cell: of the lattice about the target. headings: in a full turn; an arc turns by
    one of them. turning_radius: of arcs. iterations: arcs of the longest way.
    occupied: probability from which on no way leads through a place, surely: of a bold plan;
    suspected: from which on a place within `clearance` of the body costs `discomfort` times the
    metres driven beside it.
    margin: about the body where nothing may be. gear_change: what changing the gear costs.
    along, aside: how far before or beside the target the goal may lie; a metre aside costs
    `aside_cost`, turned by one heading `turned_cost`.
    """

    half_extent: float = 12.4
    cell: float = 0.31
    headings: int = 32
    turning_radius: float = 4.5
    iterations: int = 36
    occupied: float = 0.35
    surely: float = 0.5
    suspected: float = 0.15
    margin: float = 0.15
    clearance: float = 0.4
    discomfort: float = 3.0
    gear_change: float = 3.0
    along: float = 1.1
    aside: float = 0.5
    aside_cost: float = 3.0
    turned_cost: float = 1.5

    def __post_init__(self) -> None:
        if not (self.half_extent > 0.0 and 0.0 < self.cell < self.half_extent):
            raise ValueError(f"the lattice needs 0 < cell < half_extent, got {self}")
        if abs(self.side * self.cell - 2.0 * self.half_extent) > 1e-6 * self.half_extent:
            raise ValueError(f"the lattice's half_extent must be whole cells or half, got {self}")
        if self.headings < 8 or self.iterations < 1 or not self.turning_radius > 0.0:
            raise ValueError(
                f"the lattice needs 8 headings, an iteration and a turning_radius, got {self}"
            )

    @property
    def side(self) -> int:
        return round(2.0 * self.half_extent / self.cell)

    @property
    def arc(self) -> float:
        """Length of an arc."""
        return self.turning_radius * 2.0 * math.pi / self.headings

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Gears, headings, rows and columns of a cost to go."""
        return (len(_GEARS), self.headings, self.side, self.side)


class Poses(NamedTuple):
    """Rear axles in the target's frame, each of one shape."""

    x: Tensor
    y: Tensor
    yaw: Tensor


class CostToGo(nn.Module):
    """Maps to costs [B, 2, H, N, N] of arriving at a pose and going on from it to the target.

    Gears (forwards, backwards) with which the pose is reached, headings, y, x in the target's
    frame. Maps have rows along the target's y and columns along its x, as `MapMemory`'s.
    """

    kernels: Tensor
    arrivals: Tensor
    bodies: Tensor
    wide_bodies: Tensor
    places: Tensor
    around: Tensor
    goal: Tensor

    def __init__(self, config: CostToGoConfig, body: Body) -> None:
        super().__init__()
        self.config = config
        kernels, arrivals = _arcs(config)
        farthest = max(body.front, body.rear) + max(config.margin, config.clearance)
        self.reach = math.ceil(math.hypot(farthest, body.width / 2.0) / config.cell) + 1
        buffers = {
            "kernels": kernels,
            "arrivals": arrivals,
            "bodies": _bodies(config, body, config.margin, self.reach),
            "wide_bodies": _bodies(config, body, config.clearance, self.reach),
            "places": _places(config, 0),
            "around": _places(config, self.reach),
            "goal": _goal(config),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(
        self,
        occupied: Tensor,
        half_extent: float,
        own: Tensor,
        bold: Tensor,
        wanted: Tensor,
        old: Tensor,
    ) -> Tensor:
        """Costs to go where they are `wanted` [B], else the `old` ones.

        occupied [B, S, S]: probabilities over +-half_extent about the target. own [B, N, N]: 1
        where the car itself stands, which is free. bold [B]: 1 where only what is surely occupied
        is in the way.
        """
        places = self.around.expand(len(occupied), -1, -1, -1) / half_extent
        shown = functional.grid_sample(occupied[:, None], places, align_corners=False)
        own = functional.pad(own, [self.reach] * 4)  # [B, N + 2 R, N + 2 R]
        shown = shown * (1.0 - own[:, None])  # [B, 1, N + 2 R, N + 2 R]
        config = self.config
        least = torch.where(bold > 0.5, config.surely, config.occupied)  # [B]
        planned: Tensor = _planned(
            wanted.any(),
            old,
            (shown > least[:, None, None, None]).to(shown.dtype),
            (shown > config.suspected).to(shown.dtype),
            self.bodies,
            self.wide_bodies,
            self.goal,
            self.kernels,
            self.arrivals,
            config.iterations,
            config.arc,
            config.discomfort,
            config.gear_change,
            BLOCKED,
        )
        return torch.where(wanted[:, None, None, None, None], planned, old)

    def at(self, costs: Tensor, poses: Poses) -> Tensor:
        """Costs [B, 2, P] in each gear of poses [B, P], between the lattice's points."""
        config = self.config
        turn = torch.remainder(poses.yaw * (config.headings / (2.0 * math.pi)), config.headings)
        wrapped = torch.cat([costs, costs[:, :, :1]], dim=2)  # [B, 2, H + 1, N, N]
        depth = 2.0 * turn / config.headings - 1.0
        places = torch.stack([poses.x / config.half_extent, poses.y / config.half_extent], dim=2)
        # Headings lie at the ends of their axis, cells in the middle of theirs.
        places = places * (config.side / (config.side - 1.0))
        where = torch.cat([places, depth[:, :, None]], dim=2)[:, :, None, None]  # [B, P, 1, 1, 3]
        found = functional.grid_sample(wrapped, where, align_corners=True, padding_mode="border")
        inside = (poses.x.abs() < config.half_extent) & (poses.y.abs() < config.half_extent)
        return torch.where(inside[:, None], found[:, :, :, 0, 0], BLOCKED)


@torch.jit.script_if_tracing  # so that an exported policy, too, plans only where it must
def _planned(
    wanted: Tensor,
    old: Tensor,
    occupied: Tensor,
    suspected: Tensor,
    bodies: Tensor,
    wide_bodies: Tensor,
    goal: Tensor,
    kernels: Tensor,
    arrivals: Tensor,
    iterations: int,
    arc: float,
    discomfort: float,
    gear_change: float,
    blocked: float,
) -> Tensor:
    """Costs [B, 2, H, N, N] by value iteration where `wanted`, else the old ones.

    occupied, suspected [B, 1, N + 2 R, N + 2 R]: 1 where something stands, or might, R cells beyond
    the lattice as well, where a body on it may reach. A function, because that is what TorchScript
    keeps as a branch and a loop.
    """
    costs = old
    if bool(wanted):
        batch, gears, headings, side = old.shape[0], old.shape[1], old.shape[2], old.shape[3]
        # What an arc to each pose costs, [B, 1, H, N, N]
        near = torch.conv2d(suspected, wide_bodies)  # cells beside the body, [B, H, N, N]
        hit = torch.conv2d(occupied, bodies) > 0.5
        # From three cells on it is as uncomfortable as it gets.
        step = arc * (1.0 + discomfort * (near / 3.0).clamp(max=1.0)) + blocked * hit
        step = step.unsqueeze(1)
        reach = kernels.shape[2] // 2
        costs = goal.expand(batch, gears, headings, side, side)
        for _ in range(iterations):
            # What it costs to arrive at each pose, by gear, and to go on: [B, 2 H, N, N]
            onward = (costs + step).clamp(max=blocked).flatten(1, 2)
            onward = onward.index_select(1, arrivals)  # [B, 6 H, N, N]
            padded = torch.nn.functional.pad(onward, [reach, reach, reach, reach], value=blocked)
            ways = torch.conv2d(padded, kernels, groups=kernels.shape[0])
            # [B, 2, 3, H, N, N] -> [B, 2, H, N, N]
            best = ways.view(batch, gears, 3, headings, side, side).amin(dim=2)
            changed = best.flip([1]) + gear_change
            costs = torch.minimum(torch.minimum(best, changed), goal).clamp(max=blocked)
        # With the arc that leads there: whoever chooses among arcs counts as the plan does.
        costs = (costs + step).clamp(max=blocked)
    return costs


def _arcs(config: CostToGoConfig) -> tuple[Tensor, Tensor]:
    """Kernels [2 * 3 * H, 1, k, k] that read where arcs end, and with which gear and heading."""
    reach = math.ceil(config.arc / config.cell)
    count = config.headings
    kernels = torch.zeros(len(_GEARS) * len(_TURNS) * count, 1, 2 * reach + 1, 2 * reach + 1)
    arrivals = torch.zeros(len(kernels), dtype=torch.long)
    for index in range(len(kernels)):
        gear, rest = divmod(index, len(_TURNS) * count)
        turn, heading = divmod(rest, count)
        direction, curve = _GEARS[gear], _TURNS[turn]
        change = 2.0 * math.pi / count * direction * curve
        yaw = 2.0 * math.pi / count * heading + change / 2.0  # of the chord
        chord = direction * config.arc * (math.sin(change / 2.0) / (change / 2.0) if change else 1)
        x, y = chord * math.cos(yaw) / config.cell, chord * math.sin(yaw) / config.cell
        column, row = math.floor(x), math.floor(y)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = abs(1 - down - (y - row)) * abs(1 - right - (x - column))
            if weight > 1e-9:
                kernels[index, 0, reach + row + down, reach + column + right] = weight
        arrivals[index] = gear * count + (heading + direction * curve) % count
    return kernels, arrivals


def _places(config: CostToGoConfig, beyond: int) -> Tensor:
    """The lattice's points about the target, [n, n, 2], with so many more on every side."""
    axis = (torch.arange(-beyond, config.side + beyond) + 0.5) * config.cell - config.half_extent
    along, across = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack([along, across], dim=2)


def _bodies(config: CostToGoConfig, body: Body, margin: float, reach: int) -> Tensor:
    """The cells that the body takes about its rear axle at each heading, [H, 1, k, k]."""
    axis = torch.arange(-reach, reach + 1) * config.cell
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    yaw = (torch.arange(config.headings) * 2.0 * math.pi / config.headings)[:, None, None]
    along = yaw.cos() * x + yaw.sin() * y  # [H, k, k]
    across = yaw.cos() * y - yaw.sin() * x
    inside = (along < body.front + margin) & (along > -body.rear - margin)
    inside &= across.abs() < body.width / 2.0 + margin
    return inside[:, None].float()


def _goal(config: CostToGoConfig) -> Tensor:
    """What it costs to stop at each pose, [1, H, N, N]: little near the target, else BLOCKED.

    Wide enough that arcs of one length end in it; who drives by the costs stops nearer than that.
    """
    along, across = _places(config, 0).abs().unbind(dim=2)  # [N, N]
    near = (along <= config.along) & (across <= config.aside)
    cost = along + config.aside_cost * across
    goal = torch.full((config.headings, *cost.shape), BLOCKED)
    for turned in (-1, 0, 1):
        goal[turned] = torch.where(near, cost + config.turned_cost * abs(turned), BLOCKED)
    return goal[None]
