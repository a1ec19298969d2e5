"""openpi's message format: msgpack maps that hold numpy arrays, decoded without trust.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": str, b"shape": [int, ...]}, a
numpy scalar {b"__npgeneric__": True, b"data": number, b"dtype": str}. Only plain numbers pass:
no object arrays, no extension types and no pickle. What a message may allocate is bounded by its
own length, because lists and maps are bounded in entries and in depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

# msgpack allocates a list when it reads its header, before its entries: a short message of nested
# headers would claim gigabytes if long lists were allowed.
MAX_ENTRIES = 256
MAX_DEPTH = 6
MAX_DIMENSIONS = 5
DTYPES = {
    np.dtype(name).str: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}
_ARRAY_ENTRIES = {b"__ndarray__", b"data", b"dtype", b"shape"}
_SCALAR_ENTRIES = {b"__npgeneric__", b"data", b"dtype"}


class WireError(ValueError):
    """A message that is not in the format; the text names the entry."""


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as bytes. Raises WireError for an array of another than `DTYPES`."""
    packed: bytes = msgpack.packb(message, default=_encoded)
    return packed


def decode(data: bytes) -> dict[str, Any]:
    """The map that a message holds, its arrays read-only views of `data`.

    Raises WireError, and nothing else, for anything that is not in the format.
    """
    try:
        message = msgpack.unpackb(
            data, strict_map_key=True, max_array_len=MAX_ENTRIES, max_map_len=MAX_ENTRIES
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error)[:200] or type(error).__name__
        raise WireError(f"the message is no msgpack map: {reason}") from None
    if not isinstance(message, dict):
        raise WireError(f"the message must be a msgpack map, got {type(message).__name__}")
    return {_name(key, ""): _decoded(_name(key, ""), value, 1) for key, value in message.items()}


def _encoded(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise WireError(f"a message cannot hold a {type(value).__name__}")
    if value.dtype.str not in DTYPES:
        raise WireError(f"a message cannot hold {value.dtype}; expected {', '.join(DTYPES)}")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def _decoded(path: str, value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"{path!r} is nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_decoded(path, entry, depth + 1) for entry in value]
    if not isinstance(value, dict):
        raise WireError(f"{path!r} holds a {type(value).__name__}, which is not allowed")
    if b"__ndarray__" in value:
        return _array(path, value)
    if b"__npgeneric__" in value:
        return _scalar(path, value)
    return {
        _name(key, path): _decoded(f"{path}.{_name(key, path)}", entry, depth + 1)
        for key, entry in value.items()
    }


def _name(key: Any, path: str) -> str:
    if not isinstance(key, str):
        where = f"in {path!r}" if path else "of the message"
        raise WireError(f"the keys {where} must be text, got {str(key)[:60]}")
    return key[:200]


def _array(path: str, value: Mapping[Any, Any]) -> NDArray[Any]:
    dtype = _dtype(path, value, _ARRAY_ENTRIES)
    data, shape = value[b"data"], value[b"shape"]
    sizes_are_whole = isinstance(shape, list) and all(
        type(size) is int and size >= 0 for size in shape
    )
    if not isinstance(data, bytes) or not sizes_are_whole or len(shape) > MAX_DIMENSIONS:
        raise WireError(
            f"{path!r} must hold bytes as data and up to {MAX_DIMENSIONS} sizes as shape"
        )
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise WireError(
            f"{path!r} holds {len(data)} bytes, but {dtype} {str(shape)[:60]} takes {wanted}"
        )
    try:
        return np.frombuffer(data, dtype).reshape(shape)
    except ValueError:  # a size of 0 beside one that no array can have
        raise WireError(f"{path!r}: no array can be {str(shape)[:60]}") from None


def _scalar(path: str, value: Mapping[Any, Any]) -> np.generic:
    dtype = _dtype(path, value, _SCALAR_ENTRIES)
    number = value[b"data"]
    if not isinstance(number, bool | int | float):
        raise WireError(f"{path!r} must hold a number as data, got {type(number).__name__}")
    try:
        scalar: np.generic = dtype.type(number)
    except (OverflowError, ValueError):
        raise WireError(f"{path!r}: {number} is no {dtype}") from None
    return scalar


def _dtype(path: str, value: Mapping[Any, Any], entries: set[bytes]) -> np.dtype[Any]:
    if value.keys() != entries:
        names = ", ".join(sorted(entry.decode() for entry in entries))
        raise WireError(f"{path!r} must have exactly the entries {names}")
    name = value[b"dtype"]
    if not isinstance(name, str) or name not in DTYPES:
        raise WireError(
            f"{path!r} has dtype {str(name)[:60]!r}, expected one of {', '.join(DTYPES)}"
        )
    return DTYPES[name]
