"""The learned motion model: position and yaw change of 0.1 s from four frames of sensors, controls.

A kinematic bicycle is its base. A small network corrects the bicycle's speed, steering angle and
side slip and says how sure it is, by Gaussian likelihood (Nix and Weigend 1994). Learned so, it
weighs the inertial sensors against the wheels', takes the steering angle from the command where the
wheels have followed it, and knows that a braked car stands still whatever its speed sensor says.
After the motion prediction of arXiv 2509.11090 (CAA-Policy), which leaves yaw to the simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import Statistics, TrainedModel, register
from helmsight.policies.modules.normaliser import Standardiser

SENSORS = ("speed", "acceleration_x", "acceleration_y", "yaw_rate", "steering_angle")
CONTROLS = ("acceleration", "steer", "reverse")
COMPONENTS = ("x", "y", "yaw")
TRUTH = "simulator.state"  # x, y, yaw first
# Errors of the bicycle with measured speed and angle over 0.1 s (m, m, rad): the unit of variances.
TYPICAL_ERROR = (1.5e-3, 1.5e-4, 3e-4)
# Small differences that matter, in the unit that the network sees them in: of steering angles
# (rad), yaw rates (rad/s) and speeds (m/s). They are cut at three units.
ANGLE_UNIT, YAW_RATE_UNIT, SPEED_UNIT = 0.01, 0.01, 0.05
CUT = 3.0


@dataclass(frozen=True)
class MotionConfig:
    """Everything that a motion model's shape and training depend on. Metres, radians, seconds.

    frames: readings that are looked at. latest_frame: 1 looks at the reading at the end of the
    period too, as a tracker may that is asked after it; 0 predicts the period ahead of it.
    wheelbase, max_steering_angle: of the car; a steer of 1 commands that angle.
    largest_correction: of the speed (m/s), the steering angle (rad) and the side slip (m in 0.1 s).
    However far from its training data, the network changes the bicycle's motion by no more.
    least_deviation: standard deviation below which no claim is made, of x, y and yaw.
    horizon: periods of a training window; their motions are also added up to one way.
    beta: 0 is the plain likelihood; a period's loss is weighted by variance^beta (Seitzer et al.
    2022), as the plain one looks away from what is hard to predict.
    path_weight: of the likelihood of the way's end. command_noise: deviation of noise on the
    acceleration command in training. An expert that knows its true speed betrays it by its pedals;
    whoever else drives does not.
    """

    frames: int = 4
    latest_frame: int = 1
    width: int = 64
    layers: int = 2
    wheelbase: float = 2.9
    max_steering_angle: float = 0.61
    largest_correction: tuple[float, float, float] = (0.08, 0.04, 0.005)
    least_deviation: tuple[float, float, float] = (5e-5, 2e-5, 1e-5)
    horizon: int = 160
    beta: float = 0.5
    path_weight: float = 3.0
    command_noise: float = 0.2

    def __post_init__(self) -> None:
        if self.latest_frame not in (0, 1):
            raise ValueError(f"latest_frame must be 0 or 1, got {self.latest_frame}")
        for name in ("frames", "width", "layers", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.frames < 1 + self.latest_frame:
            raise ValueError(f"frames must be 2 or more with latest_frame=1, got {self.frames}")
        for name in ("largest_correction", "least_deviation"):
            values = getattr(self, name)
            if len(values) != 3 or min(values) <= 0.0:
                raise ValueError(f"{name} must be three numbers above 0, got {values}")

    @property
    def commands(self) -> int:
        """Commands looked at: the one that led to each reading, and the one of the period."""
        return self.frames - self.latest_frame + 1


class Motion(NamedTuple):
    """Motion of the rear axle over a period in the frame before it: mean, variance [..., 3]."""

    mean: Tensor
    variance: Tensor


@register("motion")
class MotionNetwork(TrainedModel):
    """See the module's docstring. `estimate` is for use, `forward` for training."""

    config_class = MotionConfig
    config: MotionConfig

    def __init__(
        self, config: MotionConfig, embodiment: EmbodimentSpec, statistics: Statistics
    ) -> None:
        super().__init__(config, embodiment, statistics)
        self._sensors = [embodiment.state.index(name) for name in SENSORS]
        self._controls = [embodiment.action.index(name) for name in CONTROLS]
        self._period = 1.0 / embodiment.rate_hz
        state = statistics["observation.state"]
        self.standardise = Standardiser(
            [state["mean"][index] for index in self._sensors],
            [state["std"][index] for index in self._sensors],
        )
        layers: list[nn.Module] = []
        inputs = config.frames * (len(SENSORS) + 4) + config.commands * len(CONTROLS)
        for _ in range(config.layers):
            layers += [nn.Linear(inputs, config.width), nn.SiLU()]
            inputs = config.width
        head = nn.Linear(inputs, 6)
        nn.init.zeros_(head.weight)  # it starts as the bicycle
        nn.init.zeros_(head.bias)
        self.network = nn.Sequential(*layers, head)
        # By what factor a way's error exceeds that of independent periods, logarithms of x, y, yaw.
        self.log_growth = nn.Parameter(torch.full((3,), math.log(2.0)))
        self._limits: Tensor
        self._unit: Tensor
        self._least: Tensor
        constants = {
            "_limits": config.largest_correction,
            "_unit": TYPICAL_ERROR,
            "_least": config.least_deviation,
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)

    # Training

    def input_keys(self) -> list[str]:
        return ["observation.state", "action", TRUTH]

    def window_offsets(self) -> dict[str, list[int]]:
        config = self.config
        first, end = config.latest_frame - config.frames + 1, config.horizon
        return {
            "observation.state": list(range(first, end + config.latest_frame)),
            "action": list(range(first - 1, end)),
            TRUTH: list(range(end + 1)),
        }

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log likelihood of each period and of the way that they add up to."""
        config = self.config
        sensed = batch["observation.state"][..., self._sensors]  # [B, H + frames - 1, 5]
        controls = self._as_controls(batch["action"])  # [B, H + commands - 1, 3]
        # Every run of so many frames: [B, H, 5, frames] -> [B, H, frames, 5]
        readings = sensed.unfold(1, config.frames, 1).transpose(2, 3)
        commands = controls.unfold(1, config.commands, 1).transpose(2, 3)
        truth = _motions(batch[TRUTH])  # [B, H, 3]
        valid = (~batch[f"{TRUTH}_is_pad"][:, 1:]).float().unsqueeze(-1)  # [B, H, 1]
        motion = self.estimate(readings, commands)
        error = motion.mean - truth
        share = valid / (3.0 * valid.sum().clamp(min=1.0))
        unit = self._unit.square()
        relative = motion.variance / unit
        likelihood = 0.5 * (error.square() / motion.variance + relative.log())
        period = (likelihood * relative.detach() ** config.beta * share).sum()
        path = self._path_loss(motion, truth, valid)
        parts = {
            "period": (likelihood * share).sum(),
            "path": path,
            **_within(motion, error, valid),
        }
        return period + config.path_weight * path, parts

    def _as_controls(self, actions: Tensor) -> Tensor:
        """Actions [..., A] as acceleration, steer and the gear, 1 in reverse, [..., 3]."""
        acceleration, steer, reverse = actions[..., self._controls].unbind(-1)
        if self.training and self.config.command_noise > 0.0:
            acceleration = acceleration + self.config.command_noise * torch.randn_like(acceleration)
        return torch.stack([acceleration, steer, (reverse >= 0.5).float()], dim=-1)

    def _path_loss(self, motion: Motion, truth: Tensor, valid: Tensor) -> Tensor:
        """Negative log likelihood of where the window's whole way ends, in the frame there.

        The variances are not trained by it, only their common factor `growth`.
        """
        places, headings = _path(truth * valid)
        reached, turned = _path(motion.mean * valid)
        end = headings[:, -1]
        offset = _rotate(reached[:, -1] - places[:, -1], -end)  # [B, 2]
        error = torch.cat([offset, (turned[:, -1] - end)[:, None]], dim=1)
        claimed = motion.variance.detach() * self.growth * valid
        variance = path_variance(truth * valid, claimed) + self._least.square()
        # The logarithm counts from a hundred typical errors, so that the loss stays near zero.
        relative = variance / (100.0 * self._unit.square())
        return 0.5 * (error.square() / variance + relative.log()).mean()

    # Use

    def estimate(self, readings: Tensor, commands: Tensor) -> Motion:
        """The motion of a period, [..., 3], with its variance.

        readings [..., frames, 5]: `SENSORS`, oldest first, the last one at the period's end
        (latest_frame 1) or beginning. commands [..., commands, 3]: acceleration, steer and gear
        (1 in reverse), oldest first, the period's own last.
        """
        config = self.config
        output = self.network(self._features(readings, commands))
        correction = self._limits * torch.tanh(output[..., :3])
        seen = readings[..., -(1 + config.latest_frame) :, :].mean(dim=-2)
        speed = seen[..., 0] + correction[..., 0]
        angle = seen[..., 4] + correction[..., 1]
        distance = speed * self._period
        turn = distance * torch.tan(angle) / config.wheelbase
        across = distance * torch.sin(turn / 2.0) + correction[..., 2]
        mean = torch.stack([distance * torch.cos(turn / 2.0), across, turn], dim=-1)
        # Between e^-5 and e^5 typical errors; exponentiated once: these are log deviations.
        deviation = self._unit * torch.exp(5.0 * torch.tanh(output[..., 3:] / 5.0))
        return Motion(mean, deviation.square() + self._least.square())

    @property
    def growth(self) -> Tensor:
        """By what factor [3] a period's variance enters that of a whole way."""
        return (2.0 * self.log_growth).exp()

    def _features(self, readings: Tensor, commands: Tensor) -> Tensor:
        """Network inputs [..., F]: readings and commands, and how far they agree."""
        config = self.config
        speed, yaw_rate, angle = readings[..., 0], readings[..., 3], readings[..., 4]
        commanded = commands[..., : config.frames, 1] * config.max_steering_angle
        rolled = speed * torch.tan(angle) / config.wheelbase
        fine = [
            (commanded - angle) / ANGLE_UNIT,
            (yaw_rate - rolled) / YAW_RATE_UNIT,
            (speed - speed.mean(dim=-1, keepdim=True)) / SPEED_UNIT,
            speed / SPEED_UNIT,
        ]
        return torch.cat(
            [
                self.standardise(readings).clamp(-CUT, CUT).flatten(-2),
                commands.flatten(-2),
                torch.cat(fine, dim=-1).clamp(-CUT, CUT),
            ],
            dim=-1,
        )


def path_variance(motions: Tensor, variances: Tensor) -> Tensor:
    """Variances [B, 3] of the pose where motions [B, H, 3] end, in the frame there.

    `variances` [B, H, 3] of the single motions: each one's error turns and shifts all of the way
    after it (first-order propagation).
    """
    places, headings = _path(motions)
    end = headings[:, -1:]
    angle = headings[:, :-1] - end  # [B, H]: of each motion's frame in the frame of the end
    cos2, sin2 = angle.cos().square(), angle.sin().square()
    lever = _rotate(places[:, -1:] - places[:, 1:], -end)  # [B, H, 2]: the way that is left
    along, across, turn = variances.unbind(-1)
    x = cos2 * along + sin2 * across + lever[..., 1].square() * turn
    y = sin2 * along + cos2 * across + lever[..., 0].square() * turn
    return torch.stack([x, y, turn], dim=-1).sum(dim=1)


def _motions(states: Tensor) -> Tensor:
    """Motions [B, H, 3] between poses [B, H + 1, >= 3], each in the frame before it."""
    poses = states[..., :3].double()
    step = poses[:, 1:] - poses[:, :-1]
    yaw = torch.remainder(step[..., 2] + math.pi, 2.0 * math.pi) - math.pi
    place = _rotate(step[..., :2], -poses[:, :-1, 2])
    return torch.cat([place, yaw.unsqueeze(-1)], dim=-1).float()


def _path(motions: Tensor) -> tuple[Tensor, Tensor]:
    """Places [B, H + 1, 2] and headings [B, H + 1] along motions [B, H, 3], from the origin."""
    heading = nn.functional.pad(motions[..., 2].cumsum(1), (1, 0))
    steps = _rotate(motions[..., :2], heading[:, :-1])
    return nn.functional.pad(steps.cumsum(1), (0, 0, 1, 0)), heading


def _rotate(vectors: Tensor, angle: Tensor) -> Tensor:
    """Vectors [..., 2] turned anticlockwise by angles [...]."""
    cos, sin = angle.cos(), angle.sin()
    x, y = vectors[..., 0], vectors[..., 1]
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def _within(motion: Motion, error: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Calibration: share of truths within one deviation, 68.3 % where the claims are honest."""
    inside = (error.detach().square() <= motion.variance.detach()).float() * valid
    shares = inside.sum((0, 1)) / valid.sum().clamp(min=1.0)
    return {f"within_sigma_{name}": shares[i] for i, name in enumerate(COMPONENTS)}
