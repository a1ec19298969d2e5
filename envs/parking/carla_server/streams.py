"""Messages of CARLA 0.9.16's sensor streams, little-endian, each checked for its size.

A message of a wrong size kills the client's process, so nothing leaves here unchecked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import msgpack
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.carla_server.wire import Transform

COLLISION, DEPTH, GNSS, IMU, RGB, SEMANTIC, WORLD_STATE = 0, 1, 4, 5, 13, 14, 17
TYPES = (COLLISION, DEPTH, GNSS, IMU, RGB, SEMANTIC, WORLD_STATE)

_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<QQd6f")
_EPISODE = struct.Struct("<Qdf3iI")
_ACTOR = struct.Struct("<IB6f3f3f3f")
_RESTING = struct.Struct("<IB6f36x54x")  # no motion, no vehicle
_VEHICLE = struct.Struct("<fffBBBifBBIB")
_IMAGE = struct.Struct("<IIf")
STATE_BYTES = 54
ACTOR_BYTES = 119
ACTIVE = 1
MAP_CHANGED = 1
LARGEST = 1 << 28
DEPTH_RANGE = 1000.0


class Moment(NamedTuple):
    """Frame number and simulated time in seconds."""

    frame: int
    time: float


class ActorState(NamedTuple):
    """One actor in a world state. Velocities m/s and degrees/s, acceleration m/s^2, CARLA's world.

    control: throttle, steer, brake of a vehicle; flags: hand brake, reverse, manual gear.
    """

    identity: int
    transform: Transform
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angular_velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    acceleration: tuple[float, float, float] = (0.0, 0.0, 0.0)
    control: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flags: tuple[bool, bool, bool] = (False, False, False)
    gear: int = 0


def framed(payload: bytes) -> bytes:
    """A message with its length before it, as it goes onto the connection."""
    if not _HEADER.size <= len(payload) <= LARGEST:
        raise ValueError(f"a stream message must have 48 to {LARGEST} bytes, got {len(payload)}")
    return _LENGTH.pack(len(payload)) + payload


def header(kind: int, moment: Moment, transform: Transform) -> bytes:
    """What begins every message, 48 bytes. ValueError for a type that the client does not know."""
    if kind not in TYPES:
        raise ValueError(f"unknown sensor type {kind}; expected one of {TYPES}")
    (x, y, z), (pitch, yaw, roll) = transform
    return _HEADER.pack(kind, moment.frame, moment.time, x, y, z, pitch, yaw, roll)


def world_state(
    head: bytes, episode: int, time: float, delta: float, map_changed: bool, actors: bytes
) -> bytes:
    """The state of all actors: `actors` is a run of `actor_state` records."""
    if len(actors) % ACTOR_BYTES:
        raise ValueError(f"actor states must be multiples of 119 bytes, got {len(actors)}")
    flags = MAP_CHANGED if map_changed else 0
    return head + _EPISODE.pack(episode, time, delta, 0, 0, 0, flags) + actors


def resting_state(identity: int, transform: Transform) -> bytes:
    """The 119 bytes of an actor that is no moving vehicle."""
    return _RESTING.pack(identity, ACTIVE, *transform.location, *transform.rotation)


def actor_state(state: ActorState) -> bytes:
    """One actor's 119 bytes."""
    (x, y, z), (pitch, yaw, roll) = state.transform
    motion = (*state.velocity, *state.angular_velocity, *state.acceleration)
    actor = _ACTOR.pack(state.identity, ACTIVE, x, y, z, pitch, yaw, roll, *motion)
    vehicle = _VEHICLE.pack(*state.control, *state.flags, state.gear, 0.0, 0, 0, 0, 0)
    record = actor + vehicle.ljust(STATE_BYTES, b"\0")
    if len(record) != ACTOR_BYTES:
        raise ValueError(f"an actor's state must have 119 bytes, got {len(record)}")
    return record


def image(head: bytes, pixels: NDArray[np.uint8], fov: float) -> bytes:
    """An image message from BGRA pixels, uint8 [H, W, 4]; `fov` is horizontal, degrees."""
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 4], got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise ValueError(f"an image must have 1 to 4096 pixels a side, got {width} x {height}")
    return b"".join((head, _IMAGE.pack(width, height, fov), pixels.data))


def bgra_of_colours(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB pictures [C, H, W, 3] as BGRA [C, H, W, 4]."""
    count, height, width, _ = colours.shape
    below = colours.reshape(count * height, width, 3)  # [C, H, W, 3] -> [C * H, W, 3]
    converted = np.asarray(cv2.cvtColor(below, cv2.COLOR_RGB2BGRA), np.uint8)
    return converted.reshape(count, height, width, 4)


def bgra_of_depth(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Metres along the optical axis [H, W] as CARLA's depth camera codes them, BGRA [H, W, 4].

    (R + 256 G + 65536 B) / (2^24 - 1) * 1000 m; what is farther is 1000 m.
    """
    share = np.minimum(depth.astype(np.float64) / DEPTH_RANGE, 1.0)
    code = np.rint(share * (2**24 - 1)).astype(np.uint32)
    pixels = np.full((*depth.shape, 4), 255, np.uint8)
    for channel, shift in ((2, 0), (1, 8), (0, 16)):
        pixels[..., channel] = (code >> shift) & 255
    return pixels


def bgra_of_tags(tags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Semantic tags [H, W] in the red channel, BGRA [H, W, 4]."""
    pixels = np.zeros((*tags.shape, 4), np.uint8)
    pixels[..., 2] = tags
    pixels[..., 3] = 255
    return pixels


def inertial(
    head: bytes, acceleration: Sequence[float], gyroscope: Sequence[float], compass: float
) -> bytes:
    """An IMU message: m/s^2, rad/s and rad from north, in the sensor's left-handed frame."""
    return head + _packed([list(acceleration), list(gyroscope), compass])


def satellite(head: bytes, latitude: float, longitude: float, altitude: float) -> bytes:
    """A GNSS message: degrees, degrees, metres."""
    return head + _packed([latitude, longitude, altitude])


def collision(head: bytes, own: Any, other: Any, impulse: Sequence[float]) -> bytes:
    """A collision message between two actors as `spawn_actor` gives them; impulse in N s."""
    return head + _packed([own, other, list(impulse)])


def _packed(value: Any) -> bytes:
    data = msgpack.packb(value, use_bin_type=True)
    assert isinstance(data, bytes)
    return data
