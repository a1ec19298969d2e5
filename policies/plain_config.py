"""Frozen dataclasses of settings, made from what YAML, JSON and the command line hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def config_from_dict(config_class: type, values: Mapping[str, Any]) -> Any:
    """A (nested) frozen dataclass from plain values.

    Raises ValueError for an unknown key, with its near match, and for a value of another type.
    """
    hints = get_type_hints(config_class)
    names = {field.name for field in dataclasses.fields(config_class)}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{config_class.__name__} has no option {key!r}{hint} "
                f"(options: {', '.join(sorted(names))})"
            )
        kind = hints[key]
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            value = config_from_dict(kind, value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        if not fits(value, kind):
            raise ValueError(f"{key} must be {in_words(kind)}, got {value!r}")
        arguments[key] = value
    return config_class(**arguments)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def mapping_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """How two (nested) mappings differ: key, with dots, to `key was A, is B`."""
    absent = "(absent)"
    old, new = flatten(before), flatten(now)
    return {
        key: f"{key} was {old.get(key, absent)!r}, is {new.get(key, absent)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, absent) != new.get(key, absent)
    }


def differences(before: Any, now: Any) -> dict[str, str]:
    """How two configurations of one class differ: option, with dots, to `option was A, is B`."""
    return mapping_differences(dataclasses.asdict(before), dataclasses.asdict(now))


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; True for types that plain values do not have.

    A whole number is a number too; True and False are none.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if origin is tuple:
        return isinstance(value, tuple) and _entries_fit(value, get_args(kind))
    if kind in (int, float):
        numbers = (int,) if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    return True


def in_words(kind: Any) -> str:
    """An annotated type for an error message."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(in_words(option) for option in get_args(kind))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if origin is tuple:
        entries = get_args(kind)
        if entries[-1] is Ellipsis:
            return f"a list, each of it {in_words(entries[0])}"
        return f"a list of {len(entries)}, each of it {in_words(entries[0])}"
    return "null" if kind is NoneType else _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _entries_fit(values: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return all(fits(value, kinds[0]) for value in values)
    return len(values) == len(kinds) and all(map(fits, values, kinds))
