"""What a collection is asked to record, and how a data set remembers it."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.collection.demonstration import Attempt, Demonstrator
from helmsight.training.dataset.format import Features
from helmsight.training.dataset.metadata import read_object

SETTINGS_PATH = "meta/collection_settings.json"
# They say how much and where, not what: a resumed collection may change them.
_FREE = ("out", "episodes", "workers")


@dataclass(frozen=True)
class CollectionSettings(ABC):
    """Settings of one round of collection; a sub-class an environment says what is recorded.

    out: the data set's folder. episodes: wanted in the data set in each of its groups, all rounds
    together. workers: processes; 0 records in this process. round: 1 for the first; a higher
    number adds attempts of other settings (seed, policy) to the same data set.
    """

    out: Path
    episodes: int
    workers: int = 1
    seed: int = 0
    round: int = 1

    SAME_COLUMNS: ClassVar[tuple[str, ...]] = ()
    """Settings that decide which columns there are: the same in all rounds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        require_at_least("episodes", self.episodes, 1)
        require_at_least("workers", self.workers, 0)
        require_at_least("round", self.round, 1)
        require_at_least("seed", self.seed, 0)

    @abstractmethod
    def embodiment(self) -> EmbodimentSpec:
        """The robot that is recorded."""

    @abstractmethod
    def features(self) -> Features:
        """The data set's features."""

    @abstractmethod
    def quotas(self) -> dict[str, int]:
        """How many episodes the data set shall hold of each group of attempts."""

    @abstractmethod
    def draw_attempt(self, number: int) -> Attempt:
        """Attempt `number` of the round: a pure function of the settings and the number."""

    @abstractmethod
    def make_demonstrator(self) -> Demonstrator:
        """What carries the attempts out, with its simulator; called in each worker."""

    def check(self) -> None:  # noqa: B027 (most have nothing to refuse)
        """Refuse here what a worker would stumble over, where the error reaches the user whole.

        Raises ValueError or FileNotFoundError.
        """

    def recorded(self) -> dict[str, Any]:
        """JSON-compatible settings that decide what an attempt gives."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE
        }


def require_remembered(settings: CollectionSettings, log: list[dict[str, Any]]) -> None:
    """Compare the round's settings with those that its attempts in the data set were made with.

    log: the attempts so far. A round without any may be of other settings than those written.
    Raises ValueError, naming every setting that differs, where the data set was collected with
    others, and where a round is skipped.
    """
    rounds = _rounds(settings, log)
    ours = settings.recorded()
    following = max(map(int, rounds), default=0) + 1
    if settings.round > following:
        raise ValueError(
            f"{settings.out} holds {len(rounds)} rounds; the next is round {following}, "
            f"got round {settings.round}"
        )
    if str(settings.round) not in rounds:
        _check_same_columns(settings, ours, rounds)
        return
    differing = _differences(ours, rounds[str(settings.round)])
    if differing:
        raise ValueError(
            f"{settings.out} was collected with other settings: {'; '.join(differing)}. Use those "
            f"to resume, another folder, or round={following} to add a round of other ones."
        )


def remember(settings: CollectionSettings, log: list[dict[str, Any]]) -> None:
    """Write the round's settings into its data set, of which this process is the writer."""
    rounds = _rounds(settings, log) | {str(settings.round): settings.recorded()}
    path = settings.out / SETTINGS_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rounds": rounds}, indent=2))
    temporary.replace(path)


def _rounds(settings: CollectionSettings, log: list[dict[str, Any]]) -> dict[str, Any]:
    """The settings of each round that has attempts in the data set, by its number."""
    path = settings.out / SETTINGS_PATH
    rounds: dict[str, Any] = read_object(path)["rounds"] if path.is_file() else {}
    begun = {str(line.get("round")) for line in log}
    return {number: written for number, written in rounds.items() if number in begun}


def _check_same_columns(
    settings: CollectionSettings, ours: dict[str, Any], rounds: dict[str, Any]
) -> None:
    """Rounds may differ in what happens, not in what is recorded of it."""
    if not rounds:
        return
    names, first = settings.SAME_COLUMNS, rounds[min(rounds, key=int)]
    differing = _differences({n: ours[n] for n in names}, {n: first.get(n) for n in names})
    if differing:
        raise ValueError(
            f"all rounds in {settings.out} must record the same columns: {'; '.join(differing)}"
        )


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {ours.get(name)!r}, there it was {theirs.get(name)!r}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def require_at_least(name: str, value: int, lowest: int) -> None:
    """Raises ValueError unless the setting is a whole number of `lowest` or more."""
    if not isinstance(value, int) or value < lowest:
        raise ValueError(f"{name} must be a whole number of {lowest} or more, got {value!r}")


def require_share(name: str, value: float) -> None:
    """Raises ValueError unless the setting lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a share in [0, 1], got {value}")
