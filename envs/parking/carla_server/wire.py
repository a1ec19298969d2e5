"""Values of CARLA 0.9.16's remote procedure calls as msgpack has them, and replies.

Requests are `[0, id, name, [metadata, arguments...]]`, replies `[1, id, error, result]`, one after
another without a length. Lists below are the library's own structures, field by field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

VERSION = "0.9.16"
TOKEN_BYTES = 24
TCP = 1
# The client takes its own host where the token names none.
ADDRESS_NOT_SET = 0


class CallRefused(ValueError):
    """A call that the server answers with an error; the client raises RuntimeError with it."""


class Answer(Enum):
    """How a call's result is wrapped."""

    VALUE = "value"  # Response<T>
    NOTHING = "nothing"  # Response<void>
    BARE = "bare"


@dataclass(frozen=True)
class Call:
    """A remote procedure: what carries it out, how many arguments it takes, and its answer."""

    function: Callable[..., Any]
    arguments: int
    answer: Answer = Answer.VALUE


class Location(NamedTuple):
    """Metres in CARLA's world, left-handed, z up."""

    x: float
    y: float
    z: float


class Rotation(NamedTuple):
    """Degrees; the order is the wire's."""

    pitch: float
    yaw: float
    roll: float


class Transform(NamedTuple):
    """Location and rotation, as `[[x, y, z], [pitch, yaw, roll]]`."""

    location: Location
    rotation: Rotation

    @classmethod
    def read(cls, value: Any) -> Transform:
        """From the wire; CallRefused for another shape."""
        try:
            (x, y, z), (pitch, yaw, roll) = value
            return cls(
                Location(float(x), float(y), float(z)),
                Rotation(float(pitch), float(yaw), float(roll)),
            )
        except (TypeError, ValueError):
            raise CallRefused(f"expected a transform, got {value!r}") from None

    def packed(self) -> list[list[float]]:
        """For the wire."""
        return [list(self.location), list(self.rotation)]


ORIGIN = Transform(Location(0.0, 0.0, 0.0), Rotation(0.0, 0.0, 0.0))


def token(stream: int, port: int) -> bytes:
    """What a client needs to open a stream: stream id, port, protocol; 24 bytes."""
    if not 0 < port < 65536:
        raise ValueError(f"a stream's port must be 1 to 65535, got {port}")
    return struct.pack("<IHBB16x", stream, port, TCP, ADDRESS_NOT_SET)


def stream_of(token_bytes: bytes) -> int:
    """The stream id in a token."""
    return int(struct.unpack_from("<I", token_bytes)[0])


def bounding_box(
    center: tuple[float, float, float], extent: tuple[float, float, float], actor: int
) -> list[Any]:
    """A box in its actor's frame; extents are half sizes in metres."""
    return [list(center), list(extent), [0.0, 0.0, 0.0], actor]


def optional(value: Any) -> list[Any]:
    """`[false]` for None, else `[true, value]`."""
    return [False] if value is None else [True, value]


def answered(kind: Answer, value: Any) -> Any:
    """A result as the client unwraps it."""
    if kind is Answer.VALUE:
        return [[1, value]]
    return [[False]] if kind is Answer.NOTHING else value


def refused(kind: Answer, message: str) -> Any:
    """An error in place of a result."""
    return [[0, [message]]] if kind is Answer.VALUE else [[True, [message]]]


def read_request(message: Any) -> tuple[int, str, Sequence[Any]]:
    """Call id, name and arguments without their metadata.

    Raises ValueError for what is no request; nothing sensible can follow it on a connection.
    """
    if not (isinstance(message, list) and len(message) == 4 and message[0] == 0):
        raise ValueError("not a request")
    _, identity, name, arguments = message
    if not (
        isinstance(identity, int)
        and isinstance(name, str)
        and isinstance(arguments, list)
        and arguments
        and isinstance(arguments[0], list)
    ):
        raise ValueError("not a request of CARLA's client")
    return identity, name, arguments[1:]
