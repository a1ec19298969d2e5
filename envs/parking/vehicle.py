"""The parking car: its measures, camera rigs, state and action, as an `EmbodimentSpec`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.spec import CameraSpec, EmbodimentSpec, SafetySpec, VectorSpec

CONTROL_RATE_HZ = 10
CONTROL_PERIOD = 1.0 / CONTROL_RATE_HZ


@dataclass(frozen=True)
class VehicleGeometry:
    """Measures of a car in metres and radians; `front` and `rear` count from the rear axle."""

    wheelbase: float
    front: float
    rear: float
    width: float
    height: float
    max_steering_angle: float

    @property
    def length(self) -> float:
        return self.front + self.rear

    @property
    def center_offset(self) -> float:
        """Distance from the rear axle forward to the middle of the body."""
        return (self.front - self.rear) / 2.0

    def footprint(self, rear_axle: Pose, margin: float = 0.0) -> Rectangle:
        """The body's rectangle with the rear axle at `rear_axle`, grown by `margin` all round."""
        return Rectangle(
            rear_axle.transform(Pose(self.center_offset, 0.0, 0.0)),
            self.length + 2.0 * margin,
            self.width + 2.0 * margin,
        )


# Hull of the ego car. The published planner plans with 4.8 m x 2.2 m, which is this plus a margin.
EGO = VehicleGeometry(
    wheelbase=2.9, front=3.75, rear=0.95, width=1.95, height=1.45, max_steering_angle=0.61
)

STATE = VectorSpec(
    names=(
        "speed",
        "acceleration_x",
        "acceleration_y",
        "yaw_rate",
        "steering_angle",
        "target_x",
        "target_y",
        "target_yaw",
    ),
    units=("m/s", "m/s^2", "m/s^2", "rad/s", "rad", "m", "m", "rad"),
    low=(-10.0, -20.0, -20.0, -5.0, -0.7, -100.0, -100.0, -math.pi),
    high=(10.0, 20.0, 20.0, 5.0, 0.7, 100.0, 100.0, math.pi),
)

# acceleration: full throttle 1, full brake -1. steer: 1 is full lock to the left.
# reverse: the reverse gear is engaged at 0.5 and above.
ACTION = VectorSpec(
    names=("acceleration", "steer", "reverse"),
    units=("1", "1", "1"),
    low=(-1.0, -1.0, 0.0),
    high=(1.0, 1.0, 1.0),
)

# Full brake with the wheels and the gear as they are. Throttle, brake and gear change at once, and
# a standing car turns its wheels from lock to lock: the car's own steering rate is the limit.
PARKING_SAFETY = SafetySpec(
    safe_action=(-1.0, None, None),
    max_velocity=(math.inf, 20.0, math.inf),
    max_jump=(math.inf, math.inf, math.inf),
    max_observation_age=0.25,
    max_action_age=0.35,
    never_repeats=True,
)


def _camera(name: str, x: float, y: float, z: float, yaw: float, pitch: float) -> CameraSpec:
    """A camera given as published: about the body's middle, angles in degrees, FOV 100 degrees."""
    return CameraSpec(
        name=name,
        position=(x + EGO.wheelbase / 2.0, y, z),
        yaw=math.radians(yaw),
        pitch=math.radians(pitch),
        horizontal_fov=math.radians(100.0),
        width=128,
        height=128,
    )


# Four cameras after Yang et al. 2024 (E2E-Parking), six after arXiv 2509.11090 (CAA-Policy).
CAMERA_RIGS: dict[str, tuple[CameraSpec, ...]] = {
    "surround4": (
        _camera("front", 1.5, 0.0, 1.5, 0.0, 0.0),
        _camera("left", 0.0, 0.8, 1.5, 90.0, -40.0),
        _camera("right", 0.0, -0.8, 1.5, -90.0, -40.0),
        _camera("rear", -2.2, 0.0, 1.5, 180.0, -30.0),
    ),
    "surround6": (
        _camera("front", 2.36, 0.0, 1.5, 0.0, 0.0),
        _camera("front_left", 2.36, 0.792, 1.5, 55.0, 0.0),
        _camera("front_right", 2.36, -0.792, 1.5, -55.0, 0.0),
        _camera("rear", -2.36, 0.0, 1.55, 180.0, 0.0),
        _camera("rear_left", -2.36, 0.792, 1.55, 110.0, 0.0),
        _camera("rear_right", -2.36, -0.792, 1.55, -110.0, 0.0),
    ),
    "none": (),
}


def parking_embodiment(rig: str = "surround4", image_size: int = 128) -> EmbodimentSpec:
    """The parking car with one of `CAMERA_RIGS`, square images of `image_size` pixels."""
    if rig not in CAMERA_RIGS:
        raise ValueError(f"unknown camera rig {rig!r}; the rigs are {', '.join(CAMERA_RIGS)}")
    if not 16 <= image_size <= 1024:
        raise ValueError(f"image_size must be 16 to 1024 pixels, got {image_size}")
    cameras = tuple(
        replace(camera, width=image_size, height=image_size) for camera in CAMERA_RIGS[rig]
    )
    return EmbodimentSpec("parking-car", CONTROL_RATE_HZ, cameras, STATE, ACTION)


def parking_rig(embodiment: EmbodimentSpec) -> tuple[str, int]:
    """Rig name and image size with which `parking_embodiment` gives these cameras.

    Raises ValueError where no rig does.
    """
    size = embodiment.cameras[0].width if embodiment.cameras else 128
    for rig in CAMERA_RIGS:
        if parking_embodiment(rig, size).cameras == embodiment.cameras:
            return rig, size
    names = ", ".join(camera.name for camera in embodiment.cameras)
    raise ValueError(
        f"no camera rig of the parking car has the cameras {names} of this embodiment; the rigs "
        f"are {', '.join(CAMERA_RIGS)}"
    )
