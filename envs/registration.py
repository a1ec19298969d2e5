"""Entry of this package's worlds into Gymnasium's register."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

PARKING_ID = "helmsight/Parking-v0"
LIBERO_ID = "helmsight/Libero-v0"


def register_environments() -> None:
    """Register what is not registered yet; nothing of a simulator is imported before it is made."""
    if PARKING_ID not in registry:
        register(PARKING_ID, entry_point="helmsight.envs.parking.env:ParkingEnvironment")
    if LIBERO_ID not in registry:
        register(LIBERO_ID, entry_point="helmsight.envs.libero.env:LiberoEnvironment")
