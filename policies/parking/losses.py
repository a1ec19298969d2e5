"""Losses of a parking policy beside imitation: what it sees, whom it follows, what it ignores."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from helmsight.policies.modules.birds_eye import DepthBins
from helmsight.policies.modules.lone_things import lone_things
from helmsight.policies.parking.semantics import OBSTACLE, SEMANTIC_WEIGHTS, coarse_label

# Cells on either side that are looked at for whether something stands alone (2.2 m a side).
NEIGHBOURHOOD = 3


def semantic_loss(logits: Tensor, label: Tensor, small_things: float = 0.0) -> Tensor:
    """Cross-entropy of class logits [B, 3, 64, 64], weighted; label [B, 200, 200] of class ids.

    small_things: what obstacles that stand alone count more.
    """
    weight, coarse = logits.new_tensor(SEMANTIC_WEIGHTS), coarse_label(label)
    if small_things == 0.0:
        return functional.cross_entropy(logits, coarse, weight=weight)
    loss = functional.cross_entropy(logits, coarse, weight=weight, reduction="none")
    more = 1.0 + small_things * small_obstacles(coarse)
    return (loss * more).sum() / weight[coarse].sum()


def small_obstacles(label: Tensor) -> Tensor:
    """1 where an obstacle stands alone, as a box does: class ids [B, S, S] -> [B, S, S]."""
    return lone_things((label == OBSTACLE).float(), NEIGHBOURHOOD)


def depth_loss(logits: Tensor, millimetres: Tensor, bins: DepthBins) -> Tensor:
    """Cross-entropy of depth logits [B, C, D, h, w] where a depth [B, C, 16, 16] is in the bins."""
    index = bins.index(millimetres.float() / 1000.0)  # [B, C, 16, 16]
    # [B, C, D, h, w] -> [B * C, D, h, w]
    logits, index = logits.flatten(0, 1), index.flatten(0, 1)
    logits = _no_finer_than(logits, index.shape[1], index.shape[2])
    # Labels have 16 x 16 cells for any image size, and so may be several to a place of the logits.
    rows, columns = logits.shape[2:]
    folded = index.unflatten(2, (columns, -1)).unflatten(1, (rows, -1))  # [B * C, h, f, w, f]
    folded = folded.permute(0, 2, 4, 1, 3).flatten(1, 2)  # [B * C, f * f, h, w]
    # In float32 under autocast as well, as cross-entropies are.
    chosen = logits.log_softmax(dim=1, dtype=torch.float32).gather(1, folded.clamp(min=0))
    known = folded >= 0
    return -(chosen * known).sum() / known.sum().clamp(min=1)


def _no_finer_than(logits: Tensor, height: int, width: int) -> Tensor:
    """Logits [N, D, h, w], averaged where they do not come whole to one of height x width cells."""
    rows, columns = logits.shape[2:]
    if height % rows == 0 and width % columns == 0:
        return logits
    if rows % height == 0 and columns % width == 0:  # a pooling that is several times as fast
        return functional.avg_pool2d(logits, (rows // height, columns // width))
    return functional.adaptive_avg_pool2d(logits, (height, width))


def grid_loss(grid: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of a grid to the teacher's, as a share of the teacher's variance."""
    return functional.mse_loss(grid, teacher) / teacher.var().clamp(min=1e-6)


def consistency_loss(attention: tuple[Tensor, Tensor], actions: tuple[Tensor, Tensor]) -> Tensor:
    """How far two looks of one state are from being decided alike.

    attention: two distributions [B, N]; actions: two normalised chunks [B, K, A]. The symmetric
    Kullback-Leibler divergence of the attentions plus the mean distance of the actions, after the
    alignment of attention and output across domains of CDAC (Wang et al. 2022, segmentation).
    """
    first, second = (value.clamp(min=1e-8).log() for value in attention)
    divergence = (attention[0] - attention[1]) * (first - second)  # [B, N]
    apart = (actions[0] - actions[1]).abs().mean()
    return 0.5 * divergence.sum(dim=1).mean() + apart
