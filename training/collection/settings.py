"""What a collection is asked to record, and how a data set remembers it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helmsight.envs.parking.scenario import APPROACHES, FAMILIES
from helmsight.envs.parking.simulator_registry import (
    SIMULATORS,
    require_free_server,
    simulator_identity,
)
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.pretrained import policy_folder

SETTINGS_PATH = "meta/collection_settings.json"
# They say how much and where, not what: a resumed collection may change them.
_FREE = ("out", "episodes", "workers")


@dataclass(frozen=True)
class CollectionSettings:
    """Settings of one round of collection.

    out: the data set's folder. episodes: wanted in the data set in total, all rounds together.
    workers: processes; 0 records in this process. round: 1 for the first; a higher number adds
    attempts of other settings (seed, policy) to the same data set.
    families, approaches: shares, by name. disturbed: share of the attempts in which the car is
    pushed off its way and only the expert's correction is recorded.
    policy: folder of a policy that drives first, for U(0, 13) s; the expert takes over and is
    recorded. No attempt is disturbed then.
    cameras, image_size, depth, birds_eye: what is recorded beside state and action.
    simulator, simulator_options: where it is driven, and what the simulator is made with.
    """

    out: Path
    episodes: int
    workers: int = 1
    seed: int = 0
    round: int = 1
    families: dict[str, float] = field(default_factory=lambda: {"standard": 0.5, "cluttered": 0.5})
    approaches: dict[str, float] = field(default_factory=lambda: {"reverse": 1.0})
    disturbed: float = 0.5
    policy: Path | None = None
    cameras: str = "surround4"
    image_size: int = 128
    depth: bool = True
    birds_eye: bool = True
    simulator: str = "mujoco"
    simulator_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.policy is not None:
            object.__setattr__(self, "policy", Path(self.policy))
        _check_at_least("episodes", self.episodes, 1)
        _check_at_least("workers", self.workers, 0)
        _check_at_least("round", self.round, 1)
        _check_at_least("seed", self.seed, 0)
        _check_shares("families", self.families, tuple(FAMILIES))
        _check_shares("approaches", self.approaches, APPROACHES)
        if not 0.0 <= self.disturbed <= 1.0:
            raise ValueError(f"disturbed must be a share in [0, 1], got {self.disturbed}")
        if self.simulator not in SIMULATORS:
            choices = ", ".join(SIMULATORS)
            raise ValueError(f"unknown simulator {self.simulator!r}; expected one of {choices}")
        require_free_server(self.simulator, self.workers)
        parking_embodiment(self.cameras, self.image_size)
        if self.image_size % 16:
            raise ValueError(f"image_size must be a multiple of 16, got {self.image_size}")

    def recorded(self) -> dict[str, Any]:
        """JSON-compatible settings that decide what an attempt gives, with the policy's hash."""
        values = {
            name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE
        }
        values |= simulator_identity(self.simulator, values.pop("simulator_options"))
        if self.policy is not None:
            values["policy"] = str(self.policy)
            values["policy_sha256"] = _policy_hash(self.policy)
        return values


def remember(settings: CollectionSettings) -> None:
    """Write the round's settings into its data set, or compare them with those written there.

    Raises ValueError, naming every setting that differs, where the data set was collected with
    others, and where a round is skipped.
    """
    path = settings.out / SETTINGS_PATH
    rounds: dict[str, Any] = json.loads(path.read_text())["rounds"] if path.is_file() else {}
    ours = settings.recorded()
    theirs = rounds.get(str(settings.round))
    if theirs is None:
        if settings.round != len(rounds) + 1:
            raise ValueError(
                f"{settings.out} holds {len(rounds)} rounds; the next is round {len(rounds) + 1}, "
                f"got round {settings.round}"
            )
        _check_same_columns(settings, ours, rounds)
        rounds[str(settings.round)] = ours
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"rounds": rounds}, indent=2))
        temporary.replace(path)
        return
    differing = _differences(ours, theirs)
    if differing:
        raise ValueError(
            f"{settings.out} was collected with other settings: {'; '.join(differing)}. Use those "
            f"to resume, another folder, or round={len(rounds) + 1} to add a round of other ones."
        )


def _check_same_columns(
    settings: CollectionSettings, ours: dict[str, Any], rounds: dict[str, Any]
) -> None:
    """Rounds may differ in what happens, not in what is recorded of it."""
    if not rounds:
        return
    names = ("cameras", "image_size", "depth", "birds_eye")
    first = rounds["1"]
    differing = _differences({n: ours[n] for n in names}, {n: first[n] for n in names})
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


def _policy_hash(policy: Path) -> str:
    weights = policy_folder(policy) / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _check_at_least(name: str, value: int, lowest: int) -> None:
    if not isinstance(value, int) or value < lowest:
        raise ValueError(f"{name} must be a whole number of {lowest} or more, got {value!r}")


def _check_shares(name: str, shares: dict[str, float], allowed: tuple[str, ...]) -> None:
    unknown = sorted(shares.keys() - set(allowed))
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; known are {', '.join(allowed)}")
    if any(share < 0.0 for share in shares.values()) or not sum(shares.values()) > 0.0:
        raise ValueError(f"{name} must be shares of 0 or more that are not all 0, got {shares}")
