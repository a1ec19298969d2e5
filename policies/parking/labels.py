"""What a parking policy's heads are trained towards, from what was recorded."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.parking.config import TARGET_ENTRIES

# A car farther than this from its target (m) and slower than this (m/s) stands on its way.
ON_ITS_WAY, STANDING_SPEED = 0.8, 0.05
SPEED_ENTRY = 3  # of simulator.state


class ParkingLabels(NamedTuple):
    """Targets of one batch, normalised.

    action [B, K, A] in [-1, 1]; valid [B, K]: 1 where the step was recorded; weight [B, A]: of each
    action entry's error; speed [B, 3]: signed speed ahead in units of 2 m/s, steer, reverse;
    waypoints [B, W, 4]: x, y in units of 5 m, cosine and sine of the yaw change.
    """

    action: Tensor
    valid: Tensor
    weight: Tensor
    speed: Tensor
    waypoints: Tensor


def make_labels(
    batch: dict[str, Tensor], actions: Tensor, embodiment: EmbodimentSpec, waiting: float
) -> ParkingLabels:
    """Labels of a batch whose recorded actions are `actions` [B, K, A], normalised.

    waiting: see `ParkingLossWeights.waiting`.
    """
    states = batch["simulator.state"]  # [B, 2 + W, 5]: now, speed ahead, waypoints
    speed = [states[:, 1, SPEED_ENTRY] / 2.0, actions[:, 0, 1], actions[:, 0, 2]]
    return ParkingLabels(
        action=actions,
        valid=(~batch["action_is_pad"]).float(),
        weight=_entry_weights(batch, embodiment, waiting),
        speed=torch.stack(speed, dim=1),
        waypoints=_waypoints(states[:, 0], states[:, 2:]),
    )


def _waypoints(now: Tensor, future: Tensor) -> Tensor:
    """Poses [B, W, 4] of states [B, W, 5] in the vehicle's frame at `now` [B, 5]."""
    now = now.unsqueeze(1)  # [B, 1, 5]
    cos, sin = now[..., 2].cos(), now[..., 2].sin()  # [B, 1]
    dx, dy = future[..., 0] - now[..., 0], future[..., 1] - now[..., 1]  # [B, W]
    turned = future[..., 2] - now[..., 2]
    x, y = (cos * dx + sin * dy) / 5.0, (cos * dy - sin * dx) / 5.0
    return torch.stack([x, y, turned.cos(), turned.sin()], dim=2)


def _entry_weights(batch: dict[str, Tensor], embodiment: EmbodimentSpec, waiting: float) -> Tensor:
    """Weight [B, A] of each action entry's error: the brake of an expert that waits counts less."""
    acceleration = embodiment.action.index("acceleration")
    x, y, _ = (
        batch["observation.state"][:, embodiment.state.index(name)] for name in TARGET_ENTRIES
    )
    actions = batch["action"]
    on_its_way = torch.hypot(x, y) > ON_ITS_WAY
    stands = batch["simulator.state"][:, 0, SPEED_ENTRY].abs() < STANDING_SPEED
    waits = on_its_way & stands & (actions[:, 0, acceleration] < 0.0)
    weights = torch.ones_like(actions[:, 0])
    weights[:, acceleration] = torch.where(waits, waiting, 1.0)
    return weights


def mean_over_steps(error: Tensor, valid: Tensor) -> Tensor:
    """[B, K] -> [B], over the steps that were recorded."""
    return (error * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1.0)
