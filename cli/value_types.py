"""Whether what a user gave is of the kind that its default is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from helmsight.policies.plain_config import fits

# Keys whose default is null, which tells no kind.
WHOLE_OR_NULL = (
    "cpu_threads",
    "decide_every",
    "image_size",
    "max_message_bytes",
    "max_steps",
    "port",
    "task",
    "threads",
)
NUMBER_OR_NULL = ("max_action_age", "max_minutes", "max_observation_age", "max_seconds", "mirror")
# Keys that take a list of whole numbers as well as one.
WHOLE_OR_LIST = ("episodes", "tasks")
# Keys that hold a file, a folder or a name; a file may have a number's name.
PATHS = ("checkpoint", "out")


def checked(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with numbers in place of a path as text; both mappings may be nested.

    Raises ValueError naming a key, what it takes and what it got. What no default tells the kind
    of passes as it is.
    """
    return {str(key): _checked(str(key), defaults.get(key), values[key]) for key in values}


def _checked(path: str, default: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        nested = default if isinstance(default, Mapping) else {}
        return {k: _checked(f"{path}.{k}", nested.get(k), v) for k, v in value.items()}
    key = path.rpartition(".")[2]
    if path in PATHS and default is not None:
        return _as_path(path, value)
    for kind, is_one in _kinds(path, key, default):
        if not is_one(value):
            raise ValueError(f"{path} must be {kind}, got {value!r}")
    return value


def _kinds(path: str, key: str, default: Any) -> Iterator[tuple[str, Any]]:
    """What a value must be, in words and as a test; nothing where that is not known.

    A policy's own options are checked where its configuration is made.
    """
    if path.startswith("policy."):
        return
    if key in WHOLE_OR_LIST and not isinstance(default, list):
        optional = " or null" if default is None else ""
        kind = f"a whole number or a list of them{optional}"
        yield kind, lambda v: _whole_or_list(v) or (v is None and default is None)
    elif default is None and key in WHOLE_OR_NULL:
        yield "a whole number or null", lambda v: fits(v, int | None)
    elif default is None and key in NUMBER_OR_NULL:
        yield "a number or null", lambda v: fits(v, float | None)
    elif isinstance(default, list):
        yield "a list", lambda v: isinstance(v, list)
    elif isinstance(default, bool):
        yield "true or false", lambda v: fits(v, bool)
    elif fits(default, int) and not key.endswith("seconds"):
        yield "a whole number", lambda v: fits(v, int)
    elif fits(default, float) or path.startswith(("families.", "approaches.")):
        yield "a number", lambda v: fits(v, float)


def _as_path(key: str, value: Any) -> str:
    if fits(value, float):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must name a file or a folder, got {value!r}")
    return value


def _whole_or_list(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(fits(entry, int) for entry in values)
