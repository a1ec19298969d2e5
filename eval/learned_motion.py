"""A learned motion model behind the protocol that the target tracker integrates."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import torch
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.motion_model import MotionEstimate
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.vehicle import ACTION, CONTROL_RATE_HZ, STATE
from helmsight.policies.base import load_model
from helmsight.policies.motion import MotionNetwork


class LearnedMotion:
    """`MotionModel` of a `MotionNetwork`: keeps the last frames and asks it once a period.

    Before an episode's first frame it sees that frame again and again, as in training.
    """

    def __init__(self, network: MotionNetwork) -> None:
        self._network = network.eval()
        config = network.config
        self._readings: deque[Tensor] = deque(maxlen=config.frames)
        self._commands: deque[Tensor] = deque(maxlen=config.commands)
        self._latest = config.latest_frame
        self._growth = network.growth.tolist()

    def start(self, reading: SensorReading) -> None:
        self._commands.clear()
        self._readings.extend([_vector(reading)] * self._network.config.frames)

    @torch.inference_mode()
    def update(self, command: VehicleCommand, reading: SensorReading) -> MotionEstimate:
        controls = torch.tensor([command.acceleration, command.steer, float(command.reverse)])
        missing = self._network.config.commands - len(self._commands)
        self._commands.extend([controls] * max(missing, 1))
        if self._latest:
            self._readings.append(_vector(reading))
        motion = self._network.estimate(
            torch.stack(tuple(self._readings)), torch.stack(tuple(self._commands))
        )
        if not self._latest:
            self._readings.append(_vector(reading))
        x, y, yaw = motion.variance.tolist()
        along, across, turn = self._growth
        return MotionEstimate(
            Pose(*motion.mean.tolist()), (x, y, yaw), (along * x, across * y, turn * yaw)
        )


def load_motion(path: Path | str) -> LearnedMotion:
    """The motion model of a folder, a run, or a name of those that come along.

    Raises FileNotFoundError when there is none, ValueError for another kind of model or one that
    was trained for another robot.
    """
    network = load_model(path)
    if not isinstance(network, MotionNetwork):
        raise ValueError(
            f"motion={path} is a {network.type_name} policy; expected a motion model "
            "(helmsight train policy=motion)"
        )
    trained = network.embodiment
    ours = (STATE, ACTION, CONTROL_RATE_HZ)
    if (trained.state, trained.action, trained.rate_hz) != ours:
        raise ValueError(
            f"motion={path} was trained for {trained.name} with other sensors, controls or rate "
            "than the parking car's"
        )
    return LearnedMotion(network)


def _vector(reading: SensorReading) -> Tensor:
    """The reading in the order of `helmsight.policies.motion.SENSORS`."""
    entries = (reading.speed, *reading.acceleration, reading.yaw_rate, reading.steering_angle)
    return torch.tensor(entries)
