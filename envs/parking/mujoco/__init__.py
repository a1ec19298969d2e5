"""The parking simulator in MuJoCo: physics, low-poly pictures, no servers."""

from helmsight.envs.parking.mujoco.simulator import MujocoParkingSimulator

__all__ = ["MujocoParkingSimulator"]
