"""What a collection of parking demonstrations is asked to record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from helmsight.envs.parking.scenario import APPROACHES, FAMILIES
from helmsight.envs.parking.simulator_registry import (
    SIMULATORS,
    require_free_server,
    simulator_identity,
)
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.pretrained import policy_folder
from helmsight.training.collection.settings import CollectionSettings, require_share
from helmsight.training.dataset.format import Features

if TYPE_CHECKING:
    from helmsight.training.collection.parking.attempt import ParkingAttempt
    from helmsight.training.collection.parking.demonstrator import ParkingDemonstrator

# Settings that earlier data sets do not name, with what they were collected with.
_LATER_SETTINGS = {"roll_in": 13.0, "wide_looks": 0.0}


@dataclass(frozen=True)
class ParkingCollection(CollectionSettings):
    """Settings of one round of parking demonstrations; all of them are one group.

    families, approaches: shares, by name. disturbed: share of the attempts in which the car is
    pushed off its way and only the expert's correction is recorded.
    policy: folder of a policy that drives first, for U(0, roll_in) s or until it is stuck; the
    expert takes over and is recorded. No attempt is disturbed then.
    wide_looks: share of the attempts in the looks of `val_wide` (`envs.parking.appearance.WIDE`).
    cameras, image_size, depth, birds_eye: what is recorded beside state and action.
    simulator, simulator_options: where it is driven, and what the simulator is made with.
    """

    families: dict[str, float] = field(default_factory=lambda: {"standard": 0.5, "cluttered": 0.5})
    approaches: dict[str, float] = field(default_factory=lambda: {"reverse": 1.0})
    disturbed: float = 0.5
    policy: Path | None = None
    roll_in: float = 13.0
    wide_looks: float = 0.0
    cameras: str = "surround4"
    image_size: int = 128
    depth: bool = True
    birds_eye: bool = True
    simulator: str = "mujoco"
    simulator_options: dict[str, Any] | None = None

    SAME_COLUMNS: ClassVar[tuple[str, ...]] = ("cameras", "image_size", "depth", "birds_eye")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy is not None:
            object.__setattr__(self, "policy", Path(self.policy))
        _check_shares("families", self.families, tuple(FAMILIES))
        _check_shares("approaches", self.approaches, APPROACHES)
        require_share("disturbed", self.disturbed)
        require_share("wide_looks", self.wide_looks)
        if not self.roll_in > 0.0:
            raise ValueError(f"roll_in must be above 0 seconds, got {self.roll_in}")
        if self.simulator not in SIMULATORS:
            choices = ", ".join(SIMULATORS)
            raise ValueError(f"unknown simulator {self.simulator!r}; expected one of {choices}")
        require_free_server(self.simulator, self.workers)
        parking_embodiment(self.cameras, self.image_size)
        if self.image_size % 16:
            raise ValueError(f"image_size must be a multiple of 16, got {self.image_size}")

    def embodiment(self) -> EmbodimentSpec:
        return parking_embodiment(self.cameras, self.image_size)

    def features(self) -> Features:
        from helmsight.training.collection.parking.recording import parking_features

        return parking_features(self)

    def quotas(self) -> dict[str, int]:
        return {"": self.episodes}

    def draw_attempt(self, number: int) -> ParkingAttempt:
        from helmsight.training.collection.parking.attempt import draw_attempt

        return draw_attempt(self, number)

    def make_demonstrator(self) -> ParkingDemonstrator:
        from helmsight.envs.parking.env import ParkingEnvironment
        from helmsight.training.collection.parking.demonstrator import ParkingDemonstrator
        from helmsight.training.collection.parking.policy_driver import PolicyDriver

        environment = ParkingEnvironment(
            cameras=self.cameras,
            image_size=self.image_size,
            depth=self.depth,
            simulator=self.simulator,
            simulator_options=self.simulator_options,
        )
        policy = None if self.policy is None else PolicyDriver(self.policy, self.embodiment())
        return ParkingDemonstrator(environment, self.features(), policy)

    def check(self) -> None:
        if self.policy is not None:
            from helmsight.training.collection.parking.policy_driver import PolicyDriver

            PolicyDriver(self.policy, self.embodiment())

    def recorded(self) -> dict[str, Any]:
        """JSON-compatible settings that decide what an attempt gives, with the policy's hash."""
        values = super().recorded()
        for name, before in _LATER_SETTINGS.items():
            if values[name] == before:  # as in data sets from before there was a choice
                del values[name]
        values |= simulator_identity(self.simulator, values.pop("simulator_options"))
        if self.policy is not None:
            values["policy"] = str(self.policy)
            values["policy_sha256"] = _policy_hash(self.policy)
        return values


def _policy_hash(policy: Path) -> str:
    weights = policy_folder(policy) / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _check_shares(name: str, shares: dict[str, float], allowed: tuple[str, ...]) -> None:
    unknown = sorted(shares.keys() - set(allowed))
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; known are {', '.join(allowed)}")
    if any(share < 0.0 for share in shares.values()) or not sum(shares.values()) > 0.0:
        raise ValueError(f"{name} must be shares of 0 or more that are not all 0, got {shares}")
