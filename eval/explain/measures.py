"""The measures of a policy's maps over the moments of one episode.

Every measure is a list of numbers, one a moment, for each map. What can not be said at a moment
(no pose, no label, no second appearance, a constant map) is left out there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from helmsight.eval.explain import motion
from helmsight.eval.explain.faithfulness import (
    action_distance,
    curve_area,
    deletion_insertion,
    rank_correlation,
)
from helmsight.eval.explain.focus import class_shares, mass_on_classes, relative_entropy
from helmsight.eval.explain.frames import Frame, Recording, batch_of
from helmsight.eval.explain.maps import MapMaker
from helmsight.policies.explainable import Explainable, TokenState

FRAMES_AT_ONCE = 16
# In place of a map's name, for what concerns the decision itself.
DECISION = "decision"


class Decisions:
    """The decisions at some moments: tokens, actions, and the maps over them."""

    def __init__(
        self, maker: MapMaker, frames: Sequence[Frame], device: str, generator: torch.Generator
    ) -> None:
        states, maps = [], []
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            batch = batch_of(
                frames[start : start + FRAMES_AT_ONCE], maker.policy.observation_keys(), device
            )
            with torch.no_grad():
                states.append(maker.policy.tokens(batch))
            maps.append(maker.maps(batch, states[-1], generator))
        self.state = TokenState(
            torch.cat([state.tokens for state in states]),
            torch.cat([state.context for state in states]),
        )
        self.maps = {name: torch.cat([part[name] for part in maps]) for name in maps[0]}
        with torch.no_grad():
            self.actions = maker.policy.actions(self.state)  # [T, A]


@dataclass
class EpisodeMeasures:
    """values[measure][map]: one number a moment. curves[map]: mean over the moments, [2][S + 1].

    The curves are the deletion's and the insertion's. moments: how many were measured.
    """

    episode: int
    moments: int = 0
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)

    def add(self, measure: str, name: str, values: Sequence[float]) -> None:
        """Append the values that are finite."""
        finite = [round(float(value), 6) for value in values if math.isfinite(value)]
        if finite:
            self.values.setdefault(measure, {}).setdefault(name, []).extend(finite)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form; the keyword arguments that make it again."""
        return asdict(self)


def moments_to_measure(stride: int, step: int) -> bool:
    """Whether a step is measured, or follows one that is: its successor shows the stability."""
    return step % stride in (0, 1)


@dataclass(frozen=True)
class Measurer:
    """Measures recordings. stride: steps between measured moments, of which all start one pair.

    deletion_steps: steps of the deletion and insertion curves.
    """

    maker: MapMaker
    stride: int
    deletion_steps: int
    device: str = "cpu"

    def measure(
        self,
        recording: Recording,
        episode: int,
        twins: Sequence[Frame],
        generator: torch.Generator,
    ) -> EpisodeMeasures:
        """All measures of one episode. twins: the measured moments in another appearance."""
        first = [frame for frame in recording.frames if frame.step % self.stride == 0]
        result = EpisodeMeasures(episode, len(first))
        if not first:
            return result
        now = Decisions(self.maker, first, self.device, generator)
        self._faithfulness(now, result)
        self._use(now, result)
        self._focus(first, now, result)
        self._stability(recording.frames, first, now, result, generator)
        self._shift(twins, first, now, result, generator)
        return result

    def _faithfulness(self, now: Decisions, result: EpisodeMeasures) -> None:
        actions, tokens = self.maker.action_function(now.state), now.state.tokens
        influence = now.maps.get("masking")
        for name, values in now.maps.items():
            if influence is not None and name != "masking":
                result.add("rank_correlation", name, list(rank_correlation(values, influence)))
            curves = deletion_insertion(
                actions, tokens, self.maker.usual, values, self.deletion_steps
            )
            result.add("deletion_area", name, curve_area(curves.deletion).tolist())
            result.add("insertion_area", name, curve_area(curves.insertion).tolist())
            result.curves[name] = [
                [round(float(height), 6) for height in curve.mean(dim=0)] for curve in curves
            ]

    def _use(self, now: Decisions, result: EpisodeMeasures) -> None:
        with torch.no_grad():
            even = self.maker.policy.even_actions(now.state)
        if even is not None:
            result.add("attention_use", DECISION, action_distance(even, now.actions).tolist())

    def _focus(self, frames: Sequence[Frame], now: Decisions, result: EpisodeMeasures) -> None:
        for name, values in now.maps.items():
            result.add("entropy", name, relative_entropy(values).tolist())
        labels = [frame.label for frame in frames]
        grid = self.maker.policy.token_grid
        if grid is None or any(label is None for label in labels):
            return
        size = grid.size
        shares = torch.stack([class_shares(label, size) for label in labels if label is not None])
        for name, values in now.maps.items():
            _, obstacles, target = mass_on_classes(values, shares).unbind(dim=1)
            result.add("mass_on_obstacles", name, obstacles.tolist())
            result.add("mass_on_target", name, target.tolist())

    def _stability(
        self,
        frames: Sequence[Frame],
        first: Sequence[Frame],
        now: Decisions,
        result: EpisodeMeasures,
        generator: torch.Generator,
    ) -> None:
        followers = {frame.step: frame for frame in frames if frame.pose is not None}
        pairs = [
            (index, followers[frame.step + 1])
            for index, frame in enumerate(first)
            if frame.pose is not None and frame.step + 1 in followers
        ]
        grid = self.maker.policy.token_grid
        if not pairs or grid is None:
            return
        then = Decisions(self.maker, [frame for _, frame in pairs], self.device, generator)
        for name in now.maps:
            for position, (index, follower) in enumerate(pairs):
                pose = first[index].pose
                assert pose is not None and follower.pose is not None
                moved = motion.ego_motion(pose, follower.pose)
                before, after = now.maps[name][index].cpu(), then.maps[name][position].cpu()
                compared = motion.compare_warped(before, after, moved, grid)
                result.add("stability_variation", name, [compared.variation])
                result.add("stability_transport", name, [compared.transport])

    def _shift(
        self,
        twins: Sequence[Frame],
        first: Sequence[Frame],
        now: Decisions,
        result: EpisodeMeasures,
        generator: torch.Generator,
    ) -> None:
        grid = self.maker.policy.token_grid
        if not twins or grid is None:
            return
        index = {frame.step: position for position, frame in enumerate(first)}
        chosen = [index[frame.step] for frame in twins]
        other = Decisions(self.maker, twins, self.device, generator)
        centers = motion.cell_centers(grid)
        for name in now.maps:
            here, there = now.maps[name][chosen], other.maps[name]
            result.add("shift_variation", name, motion.total_variation(here, there).tolist())
            result.add(
                "shift_transport",
                name,
                [
                    motion.transport_distance(a, centers, b, centers)
                    for a, b in zip(here, there, strict=True)
                ],
            )
        change = action_distance(other.actions, now.actions[chosen])
        result.add("shift_action", DECISION, change.tolist())


@torch.no_grad()
def token_sum(policy: Explainable, frames: Sequence[Frame], device: str) -> tuple[Tensor, int]:
    """Sum [N, D] (float64) of the tokens at some moments, and how many these are."""
    total: Tensor | None = None
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        batch = batch_of(frames[start : start + FRAMES_AT_ONCE], policy.observation_keys(), device)
        part = policy.tokens(batch).tokens.double().sum(dim=0)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("there is no moment to take tokens from")
    return total, len(frames)
