"""What an embodiment is: its cameras, its state, its action and its rate, said once.

The environment owns an `EmbodimentSpec`; data sets and checkpoints carry it as JSON, and whoever
loads one compares it with `EmbodimentSpec.differences` before trusting a single number.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VEHICLE = "vehicle"


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera fixed to a frame, by default the vehicle's.

    Position is in metres in that frame (the vehicle's: x forward, y left, z up, origin on the
    ground below the rear axle). Yaw is positive to the left, pitch positive upwards, both in
    radians. Pixels are square, the principal point is the image centre.

    frame: what the camera is fixed to, such as "vehicle", "world" or a robot's "hand".
    mirrored: whether pictures are mirrored, left for right; some benchmarks show theirs so.
    """

    name: str
    position: tuple[float, float, float]
    yaw: float
    pitch: float
    horizontal_fov: float
    width: int
    height: int
    frame: str = VEHICLE
    mirrored: bool = False

    @property
    def focal_length(self) -> float:
        """Focal length in pixels."""
        return self.width / (2.0 * math.tan(self.horizontal_fov / 2.0))

    @property
    def vertical_fov(self) -> float:
        """Vertical field of view in radians."""
        return 2.0 * math.atan(self.height / (2.0 * self.focal_length))

    def intrinsics(self) -> NDArray[np.float64]:
        """Camera matrix [3, 3] for the optical frame (x right, y down, z forward)."""
        focal = self.focal_length
        return np.array(
            [[focal, 0.0, self.width / 2.0], [0.0, focal, self.height / 2.0], [0.0, 0.0, 1.0]]
        )

    def rotation(self) -> NDArray[np.float64]:
        """Rotation [3, 3] from the optical frame (x right, y down, z forward) to the camera's."""
        forward = np.array(
            [
                math.cos(self.yaw) * math.cos(self.pitch),
                math.sin(self.yaw) * math.cos(self.pitch),
                math.sin(self.pitch),
            ]
        )
        right = np.array([math.sin(self.yaw), -math.cos(self.yaw), 0.0])
        down = np.cross(forward, right)
        return np.stack([right, down, forward], axis=1)

    def camera_to_vehicle(self) -> NDArray[np.float64]:
        """Homogeneous transform [4, 4] from the optical frame to the vehicle frame.

        Raises ValueError for a camera that is fixed to something else.
        """
        if self.frame != VEHICLE:
            raise ValueError(f"camera {self.name!r} is fixed to the {self.frame}, not to a vehicle")
        transform = np.eye(4)
        transform[:3, :3] = self.rotation()
        transform[:3, 3] = self.position
        return transform


@dataclass(frozen=True)
class VectorSpec:
    """A named vector: one name, unit and closed range an entry."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.units), len(self.low), len(self.high)}
        if len(lengths) != 1:
            raise ValueError(
                "VectorSpec needs one name, unit, low and high an entry; got "
                f"{len(self.names)} names, {len(self.units)} units, {len(self.low)} lows, "
                f"{len(self.high)} highs"
            )

    @property
    def size(self) -> int:
        return len(self.names)

    def checked(self, values: Any, what: str) -> NDArray[np.float64]:
        """`values` as a vector of this kind; `what` names them in errors.

        Raises ValueError for a wrong shape, and for a value that is not finite or outside its
        range, naming the entry. Nothing is clipped: what is meant by such a value is not for this
        place to say.
        """
        try:
            vector = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"an {what} must be {self.size} numbers, got {values!r}") from None
        if vector.shape != (self.size,):
            raise ValueError(
                f"an {what} must have shape ({self.size},) = ({', '.join(self.names)}), "
                f"got {vector.shape}"
            )
        for name, value, low, high in zip(self.names, vector, self.low, self.high, strict=True):
            if not low <= value <= high:
                raise ValueError(
                    f"{what} entry {name!r} must be in [{low:g}, {high:g}], got {value}"
                )
        return vector

    def index(self, name: str) -> int:
        """Position of `name` in the vector."""
        if name not in self.names:
            raise KeyError(f"no entry {name!r}; the entries are {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True)
class EmbodimentSpec:
    """Everything that a data set, a policy and a server must agree on about a robot."""

    name: str
    rate_hz: int
    cameras: tuple[CameraSpec, ...]
    state: VectorSpec
    action: VectorSpec

    @property
    def image_keys(self) -> tuple[str, ...]:
        return tuple(f"observation.images.{camera.name}" for camera in self.cameras)

    @property
    def depth_keys(self) -> tuple[str, ...]:
        return tuple(f"observation.depth.{camera.name}" for camera in self.cameras)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form; `from_dict` is its inverse.

        What a camera has by default is left out, so that a robot that needs none of it reads as it
        did before it could be said.
        """
        data = dataclasses.asdict(self)
        for camera in data["cameras"]:
            for entry in dataclasses.fields(CameraSpec):
                if entry.default is not dataclasses.MISSING and camera[entry.name] == entry.default:
                    del camera[entry.name]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EmbodimentSpec:
        """Inverse of `to_dict`. Raises KeyError or TypeError naming a missing or unknown field."""
        cameras = tuple(
            CameraSpec(**{**camera, "position": tuple(camera["position"])})
            for camera in data["cameras"]
        )
        vectors = {
            key: VectorSpec(**{name: tuple(values) for name, values in data[key].items()})
            for key in ("state", "action")
        }
        return cls(name=data["name"], rate_hz=data["rate_hz"], cameras=cameras, **vectors)

    def differences(self, other: EmbodimentSpec) -> list[str]:
        """One readable line a difference, empty when both describe the same robot."""
        mine, theirs = (_jsonable(dataclasses.asdict(spec)) for spec in (self, other))
        return _differences("", mine, theirs)


@dataclass(frozen=True)
class SafetySpec:
    """What whoever drives an embodiment must keep to; the embodiment's owner declares it.

    safe_action: taken when there is nothing better; an entry of None keeps its last value.
    max_velocity: greatest change of each action entry in units a second; a faster one is slowed.
    max_jump: greatest change of each action entry from one action to the next; an action that
    jumps farther is no plausible one and is not carried out. After a safe action the last one
    before it counts as well, and after `max_action_age` of safe action neither.
    max_observation_age, max_action_age: seconds after its sensors' reading until which an
    observation may be decided on, and an action derived from it carried out.
    never_repeats: whether two readings of the state never agree to the bit, as noise has it, so
    that a repetition means frozen sensors. pictures_never_repeat: the same of every camera, each by
    itself; not so where pictures are rendered without noise, and nothing in them moves.
    """

    safe_action: tuple[float | None, ...]
    max_velocity: tuple[float, ...]
    max_jump: tuple[float, ...]
    max_observation_age: float
    max_action_age: float
    never_repeats: bool
    pictures_never_repeat: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.safe_action), len(self.max_velocity), len(self.max_jump)}
        if len(sizes) != 1:
            raise ValueError(
                "SafetySpec needs a safe action, a velocity and a jump for each action entry; got "
                f"{len(self.safe_action)}, {len(self.max_velocity)} and {len(self.max_jump)}"
            )
        limits = (*self.max_velocity, *self.max_jump, self.max_observation_age, self.max_action_age)
        if not all(limit > 0.0 for limit in limits):
            raise ValueError(f"the limits of a SafetySpec must be positive, got {limits}")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(entry) for entry in value]
    return value


def _differences(path: str, mine: Any, theirs: Any) -> list[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted(mine.keys() | theirs.keys())
        return [
            line
            for key in keys
            for line in _differences(f"{path}.{key}".lstrip("."), mine.get(key), theirs.get(key))
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [
            line
            for index, pair in enumerate(zip(mine, theirs, strict=True))
            for line in _differences(f"{path}[{index}]", *pair)
        ]
    return [] if mine == theirs else [f"{path}: {mine!r} here, {theirs!r} there"]
