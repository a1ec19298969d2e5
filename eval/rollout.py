"""One policy, one episode: drive it in closed loop and record what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.eval.records import EpisodeRecord

Observation = dict[str, Any]


class EvaluatedPolicy(Protocol):
    """What the evaluator asks of a policy.

    Two more members are used where a policy has them: `needs_observation` (bool; False while
    actions of an earlier chunk are left, so that no image is made in vain) and
    `bind(environment)`, called once for each environment, for experts that read the truth.
    """

    def reset(self) -> None:
        """Forget the last episode."""

    def select_action(self, observation: Observation) -> Any:
        """Batch of one observation -> actions [1, A]."""


class Moment(NamedTuple):
    """A control period as a spectator sees it, before the action is carried out.

    `observation` is the one that the policy decided on now, or None when it needed none.
    """

    step: int
    observation: Observation | None
    action: NDArray[np.float32]


Spectator = Callable[[Moment], None]


@dataclass
class EpisodeRunner:
    """Runs episodes of one environment with one policy; the environment is kept between them."""

    make_environment: Callable[[], gymnasium.Env]
    policy: EvaluatedPolicy
    seed: int = 0
    device: str = "cpu"
    _environment: gymnasium.Env | None = field(default=None, init=False)
    _warm: bool = field(default=False, init=False)

    @property
    def environment(self) -> gymnasium.Env:
        """The environment, made at first use and after an error."""
        if self._environment is None:
            self._environment = self.make_environment()
            bind = getattr(self.policy, "bind", None)
            if bind is not None:
                bind(self._environment.unwrapped)
        return self._environment

    def run(self, episode: int, spectator: Spectator | None = None) -> EpisodeRecord:
        """Run one episode. An exception on the way gives a record that names it as its error."""
        try:
            return self._run(episode, spectator)
        except Exception as error:
            # Whatever state the failure left behind must not reach the next episode.
            self.close()
            message = f"{type(error).__name__}: {error}"
            return EpisodeRecord(episode=episode, seed=self.seed, error=message)

    def close(self) -> None:
        """Close the environment; the next episode makes a new one."""
        environment, self._environment = self._environment, None
        if environment is not None:
            try:
                environment.close()
            except Exception:  # A broken simulator may not even close.
                return

    def _run(self, episode: int, spectator: Spectator | None) -> EpisodeRecord:
        environment = self.environment
        world: Any = environment.unwrapped
        observation, info = environment.reset(seed=self.seed, options={"episode": episode})
        task = str(info.get("task", ""))
        self.policy.reset()
        self._warm_up(observation, task)
        start = _pose(world)
        path = [start] if start else []
        decision_ms: list[float] = []
        step, done, fresh = 0, False, True
        while not done:
            decides = bool(getattr(self.policy, "needs_observation", True))
            if decides and not fresh:
                observation, fresh = self._observe(world, filmed=spectator is not None), True
            action, elapsed = self._decide(observation, task)
            if decides:
                decision_ms.append(round(1000.0 * elapsed, 3))
            if spectator is not None:
                spectator(Moment(step, observation if decides else None, action))
            _, terminated, truncated, info = world.advance(action)
            observation, fresh = _without_images(observation), False
            if path:
                path.append(_pose(world))
            step, done = step + 1, terminated or truncated
        return self._record(episode, task, info, step, decision_ms, path)

    def _observe(self, world: Any, filmed: bool) -> Observation:
        """What the policy decides on; no picture is made that neither it nor a film looks at."""
        keys = getattr(self.policy, "observation_keys", None)
        blind = keys is not None and not any(
            key.startswith("observation.images.") for key in keys()
        )
        if blind and not filmed and hasattr(world, "observe_state"):
            return world.observe_state()
        return world.observe()

    def _warm_up(self, observation: Observation, task: str) -> None:
        """One decision for nothing: what is initialised lazily is no part of an inference."""
        if not self._warm:
            self._decide(observation, task)
            self.policy.reset()
            self._warm = True

    def _decide(self, observation: Observation, task: str) -> tuple[NDArray[np.float32], float]:
        """Action [A] and the seconds that the policy's call took, copy to the host included."""
        batch = batch_of_one(observation, task, self.device)
        start = time.perf_counter()
        with torch.no_grad():
            actions = torch.as_tensor(self.policy.select_action(batch)).cpu()
        elapsed = time.perf_counter() - start
        if actions.ndim != 2 or actions.shape[0] != 1:
            raise ValueError(f"select_action must give [1, A], got {tuple(actions.shape)}")
        return actions[0].float().numpy(), elapsed  # [1, A] -> [A]

    def _record(
        self,
        episode: int,
        task: str,
        info: Mapping[str, Any],
        steps: int,
        decision_ms: list[float],
        path: list[list[float]],
    ) -> EpisodeRecord:
        metrics = _plain(info.get("episode_metrics", {}))
        scenario = getattr(self.environment.unwrapped, "scenario", None)
        success = bool(info["is_success"])
        return EpisodeRecord(
            episode=episode,
            task=task,
            family=getattr(scenario, "family", ""),
            split=getattr(scenario, "split", ""),
            approach=getattr(scenario, "approach", ""),
            seed=self.seed,
            initial_state=path[0] if path else [],
            success=success,
            outcome=metrics.pop("outcome", "TSR" if success else "TR"),
            metrics=metrics,
            steps=steps,
            decision_ms=decision_ms,
            path=path,
        )


def batch_of_one(observation: Observation, task: str, device: str = "cpu") -> Observation:
    """Numpy observation -> tensors with a leading batch axis of 1, the task as a list of one."""
    batch: Observation = {
        key: torch.from_numpy(np.ascontiguousarray(value))[None].to(device)
        for key, value in observation.items()
        if isinstance(value, np.ndarray)
    }
    batch["task"] = [task]
    return batch


def _without_images(observation: Observation) -> Observation:
    """What is left when no camera image is made: a stale image must never reach a policy."""
    return {
        key: value
        for key, value in observation.items()
        if not key.startswith(("observation.images.", "observation.depth."))
    }


def _pose(world: Any) -> list[float]:
    """True [x, y, yaw] now, to the millimetre and 0.1 mrad; empty for worlds without a vehicle."""
    if not hasattr(world, "vehicle_state"):
        return []
    x, y, yaw = world.vehicle_state().pose
    return [round(float(x), 3), round(float(y), 3), round(float(yaw), 4)]


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as JSON knows them: numpy scalars become numbers, what is not finite becomes None."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        return value

    return {key: plain(value) for key, value in metrics.items()}
