"""A collection of nothing, in groups, for tests of what any collection does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from helmsight.envs.spec import EmbodimentSpec, VectorSpec
from helmsight.training.collection.demonstration import Demonstration, FailedAttempt
from helmsight.training.collection.settings import CollectionSettings
from helmsight.training.dataset.format import embodiment_features

VECTOR = VectorSpec(("x",), ("m",), (-1.0,), (1.0,))
ROBOT = EmbodimentSpec("point", 10, (), VECTOR, VECTOR)


@dataclass(frozen=True)
class FakeAttempt:
    number: int
    group: str
    fails: bool

    def log(self):
        return {"attempt": self.number, "group": self.group, "mode": "clean"}


class FakeDemonstrator:
    def run(self, attempt):
        if attempt.fails:
            raise FailedAttempt("expert: not this time")
        frames = np.full((3, 1), attempt.number / 1000.0, np.float32)
        columns = {"observation.state": frames, "action": frames}
        return Demonstration(columns, attempt.group, {"extra": attempt.number})

    def close(self):
        pass


@dataclass(frozen=True)
class FakeCollection(CollectionSettings):
    """Attempts take turns among the groups; every so many-th of a group fails (0: none)."""

    fails: dict[str, int] = field(default_factory=lambda: {"easy": 0, "hard": 2})

    def embodiment(self):
        return ROBOT

    def features(self):
        return embodiment_features(ROBOT)

    def quotas(self):
        return dict.fromkeys(self.fails, self.episodes)

    def draw_attempt(self, number):
        group = list(self.fails)[number % len(self.fails)]
        every = self.fails[group]
        fails = every > 0 and (number // len(self.fails)) % every == 0
        return FakeAttempt(number, group, fails)

    def make_demonstrator(self):
        return FakeDemonstrator()
