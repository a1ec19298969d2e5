"""A transformer over [vision | context | action slots] whose layers keep ever fewer vision tokens.

Language-driven pruning after CogVLA's LFP, with its known flaws repaired: the number of tokens that
a layer keeps is fixed by a schedule, so every shape is static and nothing waits for the device;
positions are part of the tokens, so what is left keeps its true place; and the router's weight
scales what it is about, the vision tokens, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helmsight.policies.modules.attention_mask import MASKS, additive_mask, sequence_mask
from helmsight.policies.modules.film import LowRankFilm
from helmsight.policies.modules.transformer import Attention, FeedForward


@dataclass(frozen=True)
class TrunkConfig:
    """Shape of the trunk and of its routing.

    mask: one of `attention_mask.MASKS`. routed: False makes every layer ordinary. least_keep: the
    smallest share of vision tokens that a layer keeps. ordinary_above: layers whose share is larger
    keep all. router_rank: of the modulation by which the context steers the router.
    """

    width: int = 256
    heads: int = 8
    layers: int = 6
    mask: str = "coupled"
    routed: bool = True
    least_keep: float = 0.15
    ordinary_above: float = 0.85
    router_rank: int = 16

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise ValueError(f"unknown mask {self.mask!r}; expected one of {', '.join(MASKS)}")
        if self.layers < 1:
            raise ValueError(f"the trunk needs at least 1 layer, got {self.layers}")
        if not 0.0 < self.least_keep <= 1.0:
            raise ValueError(f"least_keep must lie in (0, 1], got {self.least_keep}")


def keep_shares(layers: int, least_keep: float) -> list[float]:
    """Share of vision tokens that each layer keeps: max(0.5 + 0.5 cos(pi l / (L - 1)), least)."""
    last = max(1, layers - 1)
    return [
        max(0.5 + 0.5 * math.cos(math.pi * layer / last), least_keep) for layer in range(layers)
    ]


def keep_counts(config: TrunkConfig, vision: int) -> list[int]:
    """How many of `vision` tokens each layer keeps; all of them in an ordinary layer."""
    if not config.routed:
        return [vision] * config.layers
    shares = keep_shares(config.layers, config.least_keep)
    return [
        vision if share > config.ordinary_above else min(vision, max(1, round(share * vision)))
        for share in shares
    ]


class Route(NamedTuple):
    """Which vision tokens a layer keeps: places [B, k], ascending, and their weights [B, k]."""

    places: Tensor
    weights: Tensor


class Router(nn.Module):
    """Scores vision tokens by what the context (proprioception and language) asks for.

    c = mean of the context's normalised states;
    s_i = softmax(W ((1 + g(c)) * LN x_i + b(c)))_1, of two classes: keep and leave out.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.film = LowRankFilm(width, width, rank)
        self.score = nn.Linear(width, 2)

    def forward(self, vision: Tensor, context: Tensor, keep: int) -> Route:
        """The `keep` best of vision [B, N, D], given the context [B, C, D]."""
        condition = self.norm(context).mean(dim=1)  # [B, D]
        scores = self.score(self.film(self.norm(vision), condition)).softmax(dim=2)[..., 0]
        places = scores.topk(keep, dim=1).indices.sort(dim=1).values
        return Route(places, scores.gather(1, places))


class TrunkLayer(nn.Module):
    """Pre-norm attention and feed-forward over the tokens that a layer keeps.

    u  = h + Attn_kept(LN h)
    h' = u + s * MLP(LN u),   s = 1 for all but vision tokens
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(
        self, tokens: Tensor, mask: Tensor, first: int = 0, weights: Tensor | None = None
    ) -> Tensor:
        """Tokens [B, N, D] -> [B, N - first, D]: what comes of those from `first` on.

        mask: [N - first, N], see `additive_mask`. weights: [B, k], of the feed-forward of the first
        k tokens.
        """
        normed = self.attention_norm(tokens)
        carried = tokens[:, first:] + self.attention(normed[:, first:], normed, mask=mask)
        changed = self.feed_forward(self.feed_forward_norm(carried))
        if weights is not None:
            changed[:, : weights.shape[1]].mul_(weights.unsqueeze(2))
        return carried + changed


class RoutedTrunk(nn.Module):
    """Layers over [vision | context | slots]; reads out the slots.

    vision, context, slots: numbers of tokens. A token that a layer leaves out is carried on
    unchanged and may return in a later layer. The last layer computes only what is read, the slots;
    a router there would have no gradient (its weight acts on tokens that nobody reads), so it keeps
    the best of the layer before.
    """

    def __init__(self, config: TrunkConfig, vision: int, context: int, slots: int) -> None:
        super().__init__()
        self.config = config
        self.vision, self.context, self.slots = vision, context, slots
        self.keep = keep_counts(config, vision)
        self.layers = nn.ModuleList(
            TrunkLayer(config.width, config.heads) for _ in range(config.layers)
        )
        self.routers = nn.ModuleDict(
            {
                str(index): Router(config.width, config.router_rank)
                for index, keep in enumerate(self.keep[:-1])
                if keep < vision
            }
        )
        if len(self.routers) == 0:
            self.keep[-1] = vision
        for index, keep in enumerate(self.keep):
            mask = sequence_mask(config.mask, keep + context, slots)
            rows = mask[-slots:] if index == config.layers - 1 else mask
            self.register_buffer(f"mask_{index}", additive_mask(rows), persistent=False)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, vision: Tensor, context: Tensor, slots: Tensor) -> Tensor:
        """Vision [B, N, D], context [B, C, D] and slots [B, K, D] -> read-out [B, K, D]."""
        tokens = torch.cat([vision, context, slots], dim=1)  # [B, N + C + K, D]
        route: Route | None = None
        for index, layer in enumerate(self.layers[:-1]):
            keep, mask = self.keep[index], self.get_buffer(f"mask_{index}")
            if keep == self.vision:
                tokens = layer(tokens, mask)
                continue
            carried, rest = tokens[:, : self.keep[index - 1]], tokens[:, self.keep[index - 1] :]
            if route is None:
                vision = carried
            else:  # what the layer before left out comes back at its place
                vision = vision.scatter(1, _wide(route.places, vision), carried)
            route = self.routers[str(index)](vision, rest[:, : self.context], keep)
            kept = _taken(vision, route.places)
            tokens = layer(torch.cat([kept, rest], dim=1), mask, weights=route.weights)
        if route is not None:
            tokens = _best(tokens, route, self.keep[-1])
        first = self.keep[-1] + self.context
        last = self.layers[-1]
        return self.norm(last(tokens, self.get_buffer(f"mask_{len(self.layers) - 1}"), first=first))


def _best(tokens: Tensor, route: Route, keep: int) -> Tensor:
    """Tokens [B, k + C + K, D] of which the first k took a route, with its `keep` best alone."""
    count = route.places.shape[1]
    if keep == count:
        return tokens
    chosen = route.weights.topk(keep, dim=1).indices.sort(dim=1).values
    return torch.cat([_taken(tokens, chosen), tokens[:, count:]], dim=1)


def _taken(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens [B, N, D] at places [B, k]: [B, k, D]."""
    return tokens.gather(1, _wide(places, tokens))


def _wide(places: Tensor, tokens: Tensor) -> Tensor:
    """Places [B, k] for every channel, [B, k, D]."""
    return places.unsqueeze(2).expand(-1, -1, tokens.shape[2])
