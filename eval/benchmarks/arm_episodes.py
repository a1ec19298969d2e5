"""How long LIBERO's episodes take: control steps, pictures, and pictures for decisions alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helmsight.envs.libero.env import LiberoEnvironment
from helmsight.eval.benchmarks.measurement import Clock, Measurement, Report, measurement


@dataclass(frozen=True)
class ArmEpisodes:
    """What is measured: so many control steps of one task, decided on once in `chunk` steps."""

    suite: str
    task: int
    steps: int
    chunk: int
    image_size: int
    repeats: int

    def measure(self, report: Report) -> dict[str, Measurement]:
        """Milliseconds of processor time, which on an idle core are those of the clock.

        `libero_episode_share` is the time of an episode whose pictures are made for decisions
        alone, over that of the same episode with pictures at every step; starts are counted in.
        """
        rounds = [self._round("official"), self._round("fast")]
        figures: dict[str, list[float]] = {}
        total = Clock()
        for done in range(self.repeats):
            for play in rounds:
                for name, value in play.run(total).items():
                    figures.setdefault(name, []).append(value)
            report(done + 1, self.repeats)
        for play in rounds:
            play.environment.close()
        how = f"{self.suite} task {self.task}, {self.image_size} px, {self.steps} steps an episode"
        return {
            name: measurement(values, "" if name.endswith("share") else "ms", total.cores_used, how)
            for name, values in figures.items()
        }

    def _round(self, render: str) -> _Round:
        environment = LiberoEnvironment(
            self.suite, self.task, render=render, image_size=self.image_size
        )
        environment.reset(options={"episode": 0})
        return _Round(self, environment, render)


@dataclass
class _Round:
    """One repeat with one quality of pictures: an episode seen throughout, and one seen rarely."""

    plan: ArmEpisodes
    environment: LiberoEnvironment
    render: str

    def run(self, total: Clock) -> dict[str, float]:
        throughout, rarely = self._play(1), self._play(self.plan.chunk)
        for clock in (*throughout, *rarely):
            total.seconds += clock.seconds
            total.processor_seconds += clock.processor_seconds
        (start, stepping, looking), steps = throughout, self.plan.steps
        found = {f"libero_{self.render}_pictures_ms": 1e3 * looking.processor_seconds / steps}
        if self.render == "official":
            found["libero_control_step_ms"] = 1e3 * stepping.processor_seconds / steps
            found["libero_start_ms"] = 1e3 * start.processor_seconds
            found["libero_episode_share"] = sum(clock.processor_seconds for clock in rarely) / sum(
                clock.processor_seconds for clock in throughout
            )
        return found

    def _play(self, look_every: int) -> tuple[Clock, Clock, Clock]:
        """Clocks over start, control steps and looks of one episode."""
        start, stepping, looking = Clock(), Clock(), Clock()
        environment, random = self.environment, np.random.default_rng(0)
        with start:
            environment.restart(options={"episode": 0})
        for step in range(self.plan.steps):
            if step % look_every == 0:
                with looking:
                    environment.observe()
            action = random.uniform(-0.3, 0.3, 7).astype(np.float32)
            with stepping:
                environment.advance(action)
        return start, stepping, looking
