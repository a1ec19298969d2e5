"""Is what a map shows what drives the policy? Masking, deletion and insertion of tokens.

The question is Jain & Wallace's (2019, "Attention is not Explanation"): does a map of importance
agree with what happens when the inputs that it calls important are taken away? Deletion and
insertion follow Petsiuk et al. (2018, RISE), with the distance between actions in the place of a
class's probability. A token is taken away by putting the usual one of its place there (mean
ablation); whatever reads the tokens reads the replaced ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Tokens [B * R, N, D], R variants in a row for each of B decisions -> actions [B * R, A].
ActionFunction = Callable[[Tensor], Tensor]
ROWS_AT_ONCE = 2048


def action_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square over the outputs [..., A] of a difference; 1 is half an entry's range."""
    return (first - second).square().mean(dim=-1).sqrt()


@torch.no_grad()
def masking_influence(actions: ActionFunction, tokens: Tensor, usual: Tensor) -> Tensor:
    """Distance [B, N] by which the actions move when one token [B, N, D] becomes the usual one."""
    batch, count, _ = tokens.shape
    masks = torch.eye(count, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
    return _distances_when_replaced(actions, tokens, usual, masks)


class Curves(NamedTuple):
    """Distances [B, S + 1] from the decision made with all tokens, after 0, 1/S, ..., all of them.

    deletion: the most important tokens are taken away first. insertion: none but usual tokens at
    first, then the most important are put in.
    """

    deletion: Tensor
    insertion: Tensor


@torch.no_grad()
def deletion_insertion(
    actions: ActionFunction, tokens: Tensor, usual: Tensor, importance: Tensor, steps: int
) -> Curves:
    """The curves of a map [B, N] for tokens [B, N, D] in `steps` equal steps."""
    count = tokens.shape[1]
    place = torch.argsort(
        torch.argsort(importance, dim=1, descending=True, stable=True), dim=1
    )  # [B, N]: 0 for the most important
    thresholds = torch.linspace(0.0, count, steps + 1, device=tokens.device).round()
    taken = place.unsqueeze(1) < thresholds[:, None]  # [B, S + 1, N]
    return Curves(
        _distances_when_replaced(actions, tokens, usual, taken),
        _distances_when_replaced(actions, tokens, usual, ~taken),
    )


def curve_area(curve: Tensor) -> Tensor:
    """Mean height [B] of a curve [B, S + 1] by the trapezoidal rule."""
    inner = curve[:, 1:-1].sum(dim=1) + (curve[:, 0] + curve[:, -1]) / 2.0
    return inner / (curve.shape[1] - 1)


def _distances_when_replaced(
    actions: ActionFunction, tokens: Tensor, usual: Tensor, masks: Tensor
) -> Tensor:
    """Distance [B, R] of the actions when the tokens of each mask [B, R, N] are the usual ones."""
    whole = actions(tokens)  # [B, A]
    variants = masks.shape[1]
    share = max(1, ROWS_AT_ONCE // tokens.shape[0])
    parts = []
    for start in range(0, variants, share):
        mask = masks[:, start : start + share, :, None]  # [B, r, N, 1]
        replaced = torch.where(mask, usual, tokens.unsqueeze(1))  # [B, r, N, D]
        moved = actions(replaced.flatten(0, 1)).unflatten(0, (tokens.shape[0], -1))  # [B, r, A]
        parts.append(action_distance(moved, whole.unsqueeze(1)))
    return torch.cat(parts, dim=1)


def rank_correlation(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Spearman's rank correlation [B] of the rows of two [B, N]; nan where one is constant."""
    a, b = (_ranks(values.detach().cpu().numpy()) for values in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0.0, (a * b).sum(axis=1) / spread, np.nan)


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks [B, N] of each row, equal values sharing the mean of theirs."""
    ranks = np.empty(values.shape)
    for row, target in zip(values, ranks, strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        target[:] = (last - (counts - 1) / 2.0)[inverse]
    return ranks
