"""The optimiser and what it decays."""

from __future__ import annotations

import torch
from torch import nn

from helmsight.training.settings import TrainingSettings


def make_optimizer(policy: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) without decay on what sets no direction to shrink.

    That is biases, gains of normalisations (both have fewer than two axes) and embeddings: those of
    `nn.Embedding` and parameters whose own name contains "embedding".
    """
    embeddings = {
        id(parameter)
        for module in policy.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            continue
        is_embedding = id(parameter) in embeddings or "embedding" in name.rpartition(".")[2]
        (free if parameter.ndim < 2 or is_embedding else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # One kernel for all tensors: a network of many small ones spends half its step here otherwise.
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
