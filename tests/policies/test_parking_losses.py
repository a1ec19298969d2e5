from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from helmsight.policies.modules.birds_eye import DepthBins
from helmsight.policies.parking.losses import depth_loss

BINS = DepthBins(0.5, 12.5, 24)


def labels(seed: int = 0) -> Tensor:
    """Depths [2, 3, 16, 16] in millimetres, some of them in no bin."""
    return torch.randint(100, 16000, (2, 3, 16, 16), generator=torch.Generator().manual_seed(seed))


def plain_loss(logits: Tensor, millimetres: Tensor) -> Tensor:
    """Cross-entropy of what each of the 16 x 16 cells is told."""
    index = BINS.index(millimetres / 1000.0).flatten(0, 1)
    told = functional.adaptive_avg_pool2d(logits.flatten(0, 1), (16, 16))
    return functional.cross_entropy(told, index, ignore_index=-1)


@pytest.mark.parametrize("side", [4, 8, 16, 32, 12])
def test_every_known_cell_counts_once_whatever_the_logits_resolution(side: int) -> None:
    logits = torch.randn(2, 3, 24, side, side, requires_grad=True)
    loss, expected = depth_loss(logits, labels(), BINS), plain_loss(logits, labels())
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_where_no_depth_is_known_nothing_is_lost() -> None:
    logits = torch.randn(2, 3, 24, 8, 8, requires_grad=True)
    loss = depth_loss(logits, torch.full((2, 3, 16, 16), 60000), BINS)
    assert float(loss) == 0.0 and torch.autograd.grad(loss, logits)[0].abs().max() == 0.0


def test_under_autocast_it_is_as_exact_as_without() -> None:
    logits = torch.randn(2, 3, 24, 8, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = depth_loss(logits, labels(), BINS)
    torch.testing.assert_close(loss, depth_loss(logits.float(), labels(), BINS))
