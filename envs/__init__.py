"""Worlds that answer an action with an observation.

Importing this package registers `helmsight/Parking-v0` and `helmsight/Libero-v0` with Gymnasium;
the simulator behind one is imported when an environment is made.
"""

from gymnasium.envs.registration import register, registry

PARKING_ID = "helmsight/Parking-v0"
LIBERO_ID = "helmsight/Libero-v0"

if PARKING_ID not in registry:
    register(PARKING_ID, entry_point="helmsight.envs.parking.env:ParkingEnvironment")
if LIBERO_ID not in registry:
    register(LIBERO_ID, entry_point="helmsight.envs.libero.env:LiberoEnvironment")
