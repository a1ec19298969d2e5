"""The parking lot in CARLA 0.9.16 behind the `ParkingSimulator` protocol.

Importing this package loads no `carla`; making a simulator does.
"""

from helmsight.envs.parking.carla.simulator import CarlaParkingSimulator

__all__ = ["CarlaParkingSimulator"]
