"""A speed controller: from a target speed to throttle, brake and gear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpeedController:
    """Proportional control with the car's own full-throttle and full-brake accelerations.

    throttle_acceleration, brake_deceleration: m/s^2 at full pedal. horizon: seconds in which a
    speed error is to be closed. standstill: m/s below which the car is to stand.
    """

    throttle_acceleration: float = 2.5
    brake_deceleration: float = 6.0
    horizon: float = 0.3
    standstill: float = 0.06

    def action(
        self, current_speed: Tensor, target_speed: Tensor, steer: Tensor, reverse: Tensor
    ) -> Tensor:
        """Actions [B, 3] of signed speeds [B] in m/s, steer [B] and the gear's score [B].

        The sign of the target speed says the gear; near zero, where it says little, the score does
        (reverse above 0). A car that still rolls the other way is braked first.
        """
        stand = target_speed.abs() < self.standstill
        unclear = target_speed.abs() < 0.1
        backwards = (unclear & (reverse > 0.0)) | (~unclear & (target_speed < 0.0))
        direction = torch.where(backwards, -1.0, 1.0)
        along = current_speed * direction
        wanted = torch.where(stand, 0.0, (target_speed * direction).clamp(min=0.0))
        rate = (wanted - along) / self.horizon
        pedal = torch.where(
            rate >= 0.0, rate / self.throttle_acceleration, rate / self.brake_deceleration
        )
        pedal = torch.where(along < -0.15, -1.0, pedal)
        # At rest the brake is held, so that the car does not creep.
        pedal = torch.where(stand & (along.abs() < 0.3), -0.5, pedal)
        gear = torch.where(backwards ^ (along < -0.15), 1.0, 0.0)
        return torch.stack([pedal.clamp(-1.0, 1.0), steer.clamp(-1.0, 1.0), gear], dim=1)
