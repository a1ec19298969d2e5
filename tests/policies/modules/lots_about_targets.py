"""Maps of what stands about a target, as `MapMemory` keeps them."""

from __future__ import annotations

import torch
from torch import Tensor

HALF_EXTENT = 16.0
Block = tuple[float, float, float, float]
# Cars beside the slot.
ROW: tuple[Block, ...] = tuple(
    (-1.0, 3.6, 3.1 * place - 0.95, 3.1 * place + 0.95) for place in (-3, -2, -1, 1, 2, 3)
)
KERB: Block = (-2.2, -1.6, -12.0, 12.0)


def world(*blocks: Block) -> Tensor:
    """Occupied [1, 160, 160] where blocks (x from, x to, y from, y to) stand about the target."""
    occupied = torch.zeros(1, 160, 160)
    for x_from, x_to, y_from, y_to in blocks:
        rows = slice(round((y_from + HALF_EXTENT) * 5), round((y_to + HALF_EXTENT) * 5))
        columns = slice(round((x_from + HALF_EXTENT) * 5), round((x_to + HALF_EXTENT) * 5))
        occupied[:, rows, columns] = 1.0
    return occupied
