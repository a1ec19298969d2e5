"""What stands alone in a bird's eye, as boxes do and cars in a row do not."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

# Share of the places around one of its own that a thing which stands alone takes at most: within a
# metre about 0.1 for a box, 0.25 and more for cars.
LONE_SHARE = 0.2


def lone_things(occupied: Tensor, reach: int) -> Tensor:
    """Occupancy [..., S, S] where little is occupied within `reach` cells to all sides, else 0."""
    share = functional.avg_pool2d(occupied, 2 * reach + 1, 1, reach)
    return occupied * (share < LONE_SHARE).to(occupied.dtype)
