"""What a parking simulator is to the task: a protocol and the values that cross it.

Nothing here belongs to one simulator; MuJoCo and CARLA stand behind the same protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.spec import CameraSpec


class VehicleCommand(NamedTuple):
    """One control period's command.

    acceleration in [-1, 1]: throttle when positive, brake when negative. steer in [-1, 1]: 1 is
    full lock to the left. reverse: the reverse gear is engaged, so throttle drives backwards.
    """

    acceleration: float
    steer: float
    reverse: bool


class VehicleState(NamedTuple):
    """The car's true motion, for experts, metrics and labels; never for a policy.

    pose: rear axle in the lot frame (m, m, rad). speed: along the body, negative in reverse, m/s.
    yaw_rate: rad/s. acceleration: (forward, left), m/s^2. steering_angle: of the equivalent
    bicycle, positive to the left, rad.
    """

    pose: Pose
    speed: float
    yaw_rate: float
    acceleration: tuple[float, float]
    steering_angle: float


class SensorReading(NamedTuple):
    """What the car's own sensors say, noise included; units and signs as in `VehicleState`."""

    speed: float
    acceleration: tuple[float, float]
    yaw_rate: float
    steering_angle: float


class CameraFrames(NamedTuple):
    """Images of one moment: colour uint8 [C, H, W, 3]; depth float32 [C, H, W] or None.

    Depth is the distance along the optical axis in metres, `inf` where nothing is hit.
    """

    colour: NDArray[np.uint8]
    depth: NDArray[np.float32] | None


class ParkingSimulator(Protocol):
    """A world that a scenario is loaded into and that a car is driven through.

    `reset` makes everything that follows a pure function of the scenario and the commands.
    """

    def reset(self, scenario: Scenario) -> None:
        """Build the scenario's world, with the ego car at rest at `scenario.start`."""

    def step(self, command: VehicleCommand) -> None:
        """Drive for one control period (0.1 s)."""

    def vehicle_state(self) -> VehicleState:
        """True motion of the ego car now."""

    def sensors(self) -> SensorReading:
        """Speed, inertial and steering sensors, read once a control period."""

    def collision(self) -> str | None:
        """Kind of the first thing hit since `reset` ("car", "box", "kerb", "post", "barrier")."""

    def render(self, cameras: Sequence[CameraSpec], depth: bool) -> CameraFrames:
        """Images of all cameras now; all of one size. Camera noise of the scenario included."""

    def close(self) -> None:
        """Free what the simulator holds; using it afterwards is an error."""
