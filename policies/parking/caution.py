"""What keeps a parking policy from harm: a guard, what it remembers, and a way out.

what is seen -> memory -> guard: is the way ahead free? -> way out: is the car stuck?
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.modules.birds_eye import Grid
from helmsight.policies.modules.course_guard import CourseGuard, Situation
from helmsight.policies.modules.map_memory import Body, MapMemory
from helmsight.policies.modules.way_out import Surroundings, WayOut
from helmsight.policies.parking.config import SEMANTIC_SIZE, ParkingPolicyConfig


class Caution(nn.Module):
    """Overrules chunks [B, K, A] of actions where they lead into something, or nowhere.

    What it overrules with is one action, K times. It plays no part in training.
    """

    def __init__(self, config: ParkingPolicyConfig, embodiment: EmbodimentSpec) -> None:
        super().__init__()
        body = Body(config.body_front, config.body_rear, config.body_width)
        self.guard = CourseGuard(config.guard, *body, config.grid.extent)
        self.memory: MapMemory | None = None
        if config.memory.enabled:
            picture = Grid(SEMANTIC_SIZE, config.grid.extent)
            self.memory = MapMemory(config.memory, embodiment.cameras, body, picture)
        self.way_out: WayOut | None = None
        if config.way_out.enabled:
            self.way_out = WayOut(config.way_out, config.guard, body, config.grid.extent)

    @property
    def size(self) -> int:
        """Numbers M that a decision hands on to the next."""
        return sum(part.size for part in (self.memory, self.way_out) if part is not None)

    def forward(
        self, chunk: Tensor, situation: Situation, target: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The chunk [B, K, A] to be carried out, and the memory [B, M] for the next decision.

        target: poses [B, 3] in the vehicle's frame. memory: what the decision before handed on.
        """
        if self.memory is None:
            return _overruled(chunk, self.guard(chunk[:, 0], situation)), memory
        size = self.memory.size
        remembered = self.memory(situation.occupied, target, memory[:, :size])
        situation = situation._replace(occupied=remembered.occupied)
        chunk = _overruled(chunk, self.guard(chunk[:, 0], situation))
        if self.way_out is None:
            return chunk, remembered.memory
        surroundings = Surroundings(
            target, self.memory.about_target(remembered.memory), self.memory.config.half_extent
        )
        handed_on = memory[:, size:] * remembered.goes_on
        action, handed_on = self.way_out(chunk[:, 0], situation, surroundings, handed_on)
        return _overruled(chunk, action), torch.cat([remembered.memory, handed_on], dim=1)


def _overruled(chunk: Tensor, first: Tensor) -> Tensor:
    """The chunk [B, K, A] where it begins with `first` [B, A]; elsewhere `first`, K times."""
    kept = (first == chunk[:, 0]).all(dim=1)
    return torch.where(kept[:, None, None], chunk, first[:, None].expand_as(chunk))
