"""What attempt number k of a collection will do, before anything is simulated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from helmsight.envs.parking.scenario import Scenario, make_scenario, wide_twin
from helmsight.training.collection.parking.disturbance import Disturbance, sample_disturbance
from helmsight.training.collection.parking.settings import ParkingCollection

DISTURBANCE_WINDOW = 12.0
BACK_OFF = (0.5, 2.5)

# The simulated episode may take longer than the scenario's limit: what came before the expert's
# part is not counted against it.
_EPISODE_LIMIT = 120.0


@dataclass(frozen=True)
class ParkingAttempt:
    """One attempt at a demonstration.

    mode: "clean", "disturbed" or "handover". handover_time: when the policy hands over or the
    disturbance begins, in seconds. back_off: how long before its own failure a policy hands over.
    wide_looks: whether the scenario is shown in a look of `val_wide`.
    """

    number: int
    family: str
    approach: str
    index: int
    mode: str
    handover_time: float
    back_off: float
    disturbance: Disturbance
    wide_looks: bool = False

    @property
    def group(self) -> str:
        """All parking attempts count together."""
        return ""

    def scenario(self) -> Scenario:
        """The training scenario with a limit that leaves time for what comes before the expert."""
        scenario = make_scenario(self.family, "train", self.index, self.approach)
        if self.wide_looks:
            scenario = wide_twin(scenario)
        return dataclasses.replace(scenario, time_limit=_EPISODE_LIMIT)

    @property
    def expert_time_limit(self) -> float:
        """Seconds that the expert may take for its own part."""
        return make_scenario(self.family, "train", self.index, self.approach).time_limit

    def log(self) -> dict[str, Any]:
        """The attempt's line in the data set's log, without its result."""
        return {
            "attempt": self.number,
            "mode": self.mode,
            "family": self.family,
            "approach": self.approach,
            "split": "train",
            "index": self.index,
            "looks": "wide" if self.wide_looks else "day",
        }


def draw_attempt(settings: ParkingCollection, number: int) -> ParkingAttempt:
    """Attempt `number` of a round: a pure function of (seed, round, number) and the shares."""
    key = (settings.round, number)
    random = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))
    family = _draw(random, settings.families)
    approach = _draw(random, settings.approaches)
    index = int(random.integers(2**31))
    disturbed = random.random() < settings.disturbed
    time, back_off = random.random(), random.uniform(*BACK_OFF)
    if settings.policy is not None:
        mode, window = "handover", settings.roll_in
    else:
        mode, window = ("disturbed" if disturbed else "clean"), DISTURBANCE_WINDOW
    return ParkingAttempt(
        number=number,
        family=family,
        approach=approach,
        index=index,
        mode=mode,
        handover_time=window * float(time),
        back_off=float(back_off),
        disturbance=sample_disturbance(random),
        wide_looks=bool(random.random() < settings.wide_looks),
    )


def _draw(random: np.random.Generator, shares: dict[str, float]) -> str:
    names = sorted(shares)
    weights = np.array([shares[name] for name in names])
    return names[int(random.choice(len(names), p=weights / weights.sum()))]
