"""Who sees whom in a sequence [vision | proprioception | language | action slots]."""

from __future__ import annotations

import torch
from torch import Tensor

MASKS = ("coupled", "causal", "bidirectional")


def additive_mask(mask: Tensor) -> Tensor:
    """The same as numbers to add to scores: 0 where a row sees, -inf where it does not.

    Attention would make them of a mask of booleans in every call.
    """
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)


def sequence_mask(kind: str, context: int, slots: int) -> Tensor:
    """Mask [context + slots, context + slots], True where a row's token sees a column's.

    coupled (CogVLA): causal over the context, the action slots see all of it and one another, and
    nothing before the slots sees them. causal: causal throughout. bidirectional: the context sees
    itself in both directions, the slots as in coupled (an encoder and a decoder in one, as in ACT).

    It depends on the tokens' order alone. A sequence from which tokens have been left out, in
    order, therefore has the mask of a shorter sequence: no mask need be gathered where tokens are
    routed around a layer. Raises ValueError for an unknown kind.
    """
    length = context + slots
    if kind == "causal":
        return torch.ones(length, length, dtype=torch.bool).tril()
    if kind == "coupled":
        mask = torch.ones(length, length, dtype=torch.bool).tril()
    elif kind == "bidirectional":
        mask = torch.ones(length, length, dtype=torch.bool)
        mask[:context, context:] = False
    else:
        raise ValueError(f"unknown mask {kind!r}; expected one of {', '.join(MASKS)}")
    mask[context:] = True
    return mask
