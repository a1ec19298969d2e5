"""The parking policy: from cameras, from the label that they should amount to, or blind."""

from helmsight.policies.parking.config import ParkingPolicyConfig
from helmsight.policies.parking.policy import ParkingPolicy

__all__ = ["ParkingPolicy", "ParkingPolicyConfig"]
