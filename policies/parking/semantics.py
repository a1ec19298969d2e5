"""What stands where, by classes: the recorded label, coarser, and what a network says of it."""

from __future__ import annotations

import torch
from torch import Tensor

from helmsight.policies.parking.config import SEMANTIC_CLASSES, SEMANTIC_SIZE

OBSTACLE = 1
# Of background, obstacle and target slot in the semantic loss, as published.
SEMANTIC_WEIGHTS = (1.0, 2.0, 2.0)


def class_probabilities(logits: Tensor) -> Tensor:
    """Of class logits [B, 3, 64, 64], with the class weights of the loss divided out.

    They make rare classes likelier than seen. What the loss's `small_things` adds depends on the
    label and stays in: where something small may stand, it is seen rather than missed.
    """
    weights = logits.new_tensor(SEMANTIC_WEIGHTS).log()
    return (logits - weights.view(1, -1, 1, 1)).softmax(dim=1)


def class_shares(fine: Tensor) -> Tensor:
    """Share of each class in blocks of 2 x 2 cells: ids [B, 2 S, 2 S] -> [B, 3, S, S].

    Shares say where in a block an edge is. Sums of bytes: much faster than one-hot floats.
    """
    shares = []
    for index in range(1, SEMANTIC_CLASSES):
        member = (fine == index).to(torch.uint8)
        columns = member[:, :, 0::2] + member[:, :, 1::2]
        shares.append((columns[:, 0::2] + columns[:, 1::2]).float() / 4.0)
    background = 1.0 - torch.stack(shares).sum(dim=0)
    return torch.stack([background, *shares], dim=1)


def coarse_label(label: Tensor, size: int = SEMANTIC_SIZE) -> Tensor:
    """Class ids [B, size, size] of a label [B, S, S]: those at the middles of the coarse cells."""
    middles = (torch.arange(size, device=label.device) + 0.5) / size
    picks = (middles * label.shape[1]).long()
    return label[:, picks][:, :, picks].long()
