"""The device that a policy runs on, as a user names it."""

from __future__ import annotations

import torch


def usable_device(name: str) -> str:
    """The name, if torch can use it here.

    Raises ValueError for what is no device, or a GPU that torch does not find.
    """
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise ValueError(f"device must be one such as cpu or cuda, got {name!r}") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name}, but torch finds no GPU here")
    return name
