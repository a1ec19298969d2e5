"""What a worker does for an explanation: drive an episode with the policy, and look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.envs.parking.scenario import shifted_twin
from helmsight.eval.evaluation import run_on_workers
from helmsight.eval.explain.frames import Recording, drive, drive_again
from helmsight.eval.explain.maps import MapMaker
from helmsight.eval.explain.measures import (
    EpisodeMeasures,
    Measurer,
    moments_to_measure,
    token_sum,
)
from helmsight.eval.explain.settings import ExplainSettings
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.rollout import EpisodeRunner
from helmsight.policies.base import Policy
from helmsight.policies.explainable import Explainable

Array = NDArray[np.float64]


def explainable(policy: Any) -> Explainable:
    """A loaded policy as explanations see it; ValueError for one that has nothing to show."""
    if not isinstance(policy, Policy):
        raise ValueError(f"{type(policy).__name__} is no trained policy: it has nothing to explain")
    return policy.explainable()


def episode_generator(seed: int, episode: int) -> torch.Generator:
    """The random numbers of an episode's maps: a pure function of both."""
    state = np.random.SeedSequence(seed, spawn_key=(episode,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


@dataclass(frozen=True)
class UsualTokens:
    """Sum of the tokens of an episode's moments and their number, for the usual token."""

    episode: int
    stride: int

    def run(self, runner: EpisodeRunner) -> tuple[Array, int]:
        recording, _ = drive(runner, self.episode, lambda step: step % self.stride == 0)
        policy = explainable(runner.policy)
        total, count = token_sum(policy, recording.frames, runner.device)
        return total.cpu().numpy(), count


@dataclass(frozen=True)
class MeasureEpisode:
    """Drive an episode and measure its maps, in its own and in a shifted appearance."""

    episode: int
    usual: Array
    settings: ExplainSettings

    def run(self, runner: EpisodeRunner) -> EpisodeMeasures:
        stride, policy = self.settings.stride, explainable(runner.policy)
        recording, collector = drive(
            runner, self.episode, lambda step: moments_to_measure(stride, step)
        )
        world: Any = runner.environment.unwrapped
        twins = []
        if policy.image_keys() and hasattr(world, "restart"):
            steps = [frame.step for frame in recording.frames if frame.step % stride == 0]
            twins = drive_again(world, shifted_twin(world.scenario), collector.actions, steps)
        measurer = make_measurer(self.settings, policy, self.usual)
        generator = episode_generator(self.settings.seed, self.episode)
        return measurer.measure(recording, self.episode, twins, generator)


@dataclass(frozen=True)
class RecordEpisode:
    """Drive an episode and keep its moments, every `stride` steps."""

    episode: int
    stride: int

    def run(self, runner: EpisodeRunner) -> Recording:
        recording, _ = drive(runner, self.episode, lambda step: step % self.stride == 0)
        return recording


def make_map_maker(settings: ExplainSettings, policy: Explainable, usual: Array) -> MapMaker:
    """The maps of a policy, with the usual token [N, D] on its device."""
    token = torch.from_numpy(usual).float().to(settings.device)
    return MapMaker(policy, token, settings.integration_steps)


def make_measurer(settings: ExplainSettings, policy: Explainable, usual: Array) -> Measurer:
    """What measures recordings of this policy."""
    maker = make_map_maker(settings, policy, usual)
    return Measurer(maker, settings.stride, settings.deletion_steps, settings.device)


def run_with_progress(
    settings: ExplainSettings, title: str, jobs: Sequence[Any], **options: Any
) -> Iterator[tuple[Any, Any]]:
    """Do jobs on the workers; yields each with its result. What went wrong in one is raised."""
    driving = settings.driving([job.episode for job in jobs], **options)
    with ProgressReporter(title, len(jobs), success="done") as progress:
        for job, result in run_on_workers(driving, jobs):
            if isinstance(result, Exception):
                raise RuntimeError(f"episode {job.episode}: {result}") from result
            progress.advance(True)
            yield job, result


def usual_tokens_by_driving(settings: ExplainSettings) -> Array:
    """The usual token [N, D] of each place: the mean over episodes of split `train`."""
    jobs = [
        UsualTokens(episode, settings.reference_stride)
        for episode in range(settings.reference_episodes)
    ]
    sums: dict[int, tuple[Array, int]] = {}
    for job, result in run_with_progress(settings, "Usual tokens", jobs, split="train"):
        sums[job.episode] = result
    # In the order of the episodes: a sum's last digits depend on it.
    total = np.sum([sums[episode][0] for episode in sorted(sums)], axis=0)
    mean: Array = total / sum(count for _, count in sums.values())
    return mean
