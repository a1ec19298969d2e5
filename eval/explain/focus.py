"""How narrow a map is and what it lies on, by the semantic bird's-eye label."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helmsight.envs.parking.birds_eye import CLASSES


def relative_entropy(maps: Tensor) -> Tensor:
    """Entropy [B] of maps [B, N] as a share of the largest possible: 1 uniform, 0 on one token."""
    entropy = -torch.special.xlogy(maps, maps).sum(dim=1)
    return entropy / math.log(maps.shape[1])


def class_shares(label: NDArray[np.uint8], size: int) -> Tensor:
    """Share [N, classes] of each class in the cells of a size x size grid over a label [S, S].

    Raises ValueError for a label that the grid does not divide.
    """
    if label.shape[0] != label.shape[1] or label.shape[0] % size:
        raise ValueError(
            f"a label of {label.shape[0]} x {label.shape[1]} cells has no whole blocks in a grid "
            f"of {size} x {size}"
        )
    block = label.shape[0] // size
    # [S, S] -> [G, block, G, block] -> [G, G, block * block]
    blocks = torch.from_numpy(label.astype(np.int64)).view(size, block, size, block)
    blocks = blocks.transpose(1, 2).reshape(size * size, block * block)
    counts = torch.stack([(blocks == index).sum(dim=1) for index in range(len(CLASSES))], dim=1)
    return counts.double() / block**2


def mass_on_classes(maps: Tensor, shares: Tensor) -> Tensor:
    """Mass [B, classes] that maps [B, N] lay on each class, with shares [B, N, classes].

    A cell's mass is split by what the cell holds: a map can be no finer than its tokens.
    """
    return torch.einsum("bn,bnc->bc", maps.double().cpu(), shares)
