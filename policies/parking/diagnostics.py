"""What a parking policy shows of its last decision: waypoints, its map, where it looked."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.modules.birds_eye import grid_in_camera
from helmsight.policies.parking.config import ParkingPolicyConfig
from helmsight.policies.parking.view import Seen

Shown = dict[str, NDArray[Any]]


class Decision(NamedTuple):
    """The first sample of a batch: waypoints [W, 4] as predicted, attention [N], and what was seen.

    attention is None for a policy that has none, seen for one that sees nothing.
    """

    waypoints: Tensor
    attention: Tensor | None = None
    seen: Seen | None = None


def decision_of(waypoints: Tensor, attention: Tensor | None, seen: Seen | None) -> Decision:
    """The first of a batch's decisions; what is not shown is not kept."""
    if seen is None:
        return Decision(waypoints[0])
    looks = (seen.depth_logits, seen.semantics)
    depth, semantics = (None if look is None else look[:1] for look in looks)
    first = Seen(seen.tokens[:1], seen.grid[:1], depth, semantics)
    return Decision(waypoints[0], None if attention is None else attention[0], first)


def shown_waypoints(decision: Decision) -> Shown:
    """Waypoints [W, 3]: x, y in metres and yaw in radians, in the vehicle's frame."""
    x, y, cos, sin = decision.waypoints.cpu().unbind(dim=1)
    poses = torch.stack([5.0 * x, 5.0 * y, torch.atan2(sin, cos)], dim=1)
    return {"waypoints": poses.numpy()}


def shown_map(logits: Tensor) -> Shown:
    """The likeliest class [64, 64] of class logits [1, 3, 64, 64]."""
    return {"birds_eye": logits[0].argmax(dim=0).byte().cpu().numpy()}


def shown_attention(
    decision: Decision, config: ParkingPolicyConfig, embodiment: EmbodimentSpec
) -> Shown:
    """Attention relative to its largest: [G/2, G/2] from above, [h, w] as each camera sees it."""
    if decision.attention is None or decision.seen is None:
        return {}
    size = config.grid.size // 2
    attention = decision.attention.view(size, size).cpu()  # [N] -> [G/2, G/2]
    attention = attention / attention.max().clamp(min=1e-12)
    shown: Shown = {"attention.birds_eye": attention.numpy()}
    if decision.seen.depth_logits is None:
        return shown
    depth = decision.seen.depth_logits[0].softmax(dim=1).cpu()  # [C, D, h, w]
    for index, key in enumerate(embodiment.image_keys):
        metres = config.depth.centers()[depth[index].argmax(dim=0)]  # [h, w]
        shown[f"attention.{key}"] = grid_in_camera(
            embodiment.cameras[index], attention, metres, config.grid.extent
        ).numpy()
    return shown
