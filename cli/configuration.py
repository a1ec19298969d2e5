"""From KEY=VALUE words on the command line to a resolved configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from helmsight.cli.value_types import checked
from helmsight.policies.plain_config import flatten

HELP_WORDS = ("-h", "--help")
# Mappings whose keys the users choose.
OPEN = ("families", "approaches")
# Keys whose values are text as it stands: no character in them means anything.
LITERAL = ("checkpoint", "data", "out", "start", "teacher", "record", "lot", "instruction")
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)  # what Hydra reads as a string without quotes
# Commands that call others, and the mappings that hold those others' words.
CALLING = {"demo": ("collect", "train", "evaluate"), "sweep": ("train", "evaluate", "explain")}


def configuration(command: str, words: list[str]) -> dict[str, Any] | None:
    """The resolved configuration of a command, or None after its help was asked for and printed.

    command: as it is typed, "eval" or "carla serve".
    Raises ValueError for words that are no KEY=VALUE, unknown keys (with the near match), unknown
    choices of a group, values of another kind than the default's, and keys without a default that
    were not given. Keys that a command only passes on (`CALLING`) are judged by the command that
    gets them; their mappings come flat, one entry a word, with dots in its key.
    """
    import helmsight.configs

    folder = Path(helmsight.configs.__path__[0]).joinpath(*command.split())
    if any(word in HELP_WORDS for word in words):
        print(_help(command, folder))
        return None
    for word in words:
        if "=" not in word:
            raise ValueError(f"expected KEY=VALUE, got {word!r}")
    return _compose(folder, words)


def require_counts(values: Mapping[str, Any], *keys: str) -> None:
    """Raises ValueError naming the first of these keys whose value is no whole number above 0."""
    for key in keys:
        if not isinstance(values[key], int) or values[key] < 1:
            raise ValueError(f"{key} must be a whole number of 1 or more, got {values[key]!r}")


def _compose(folder: Path, words: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
        overrides = {word: _as_override(folder, word) for word in words}
        parsed = _parsed(overrides)
        own = [word for word in words if not _is_passed_on(folder, _key(word))]
        passed = [word for word in words if _is_passed_on(folder, _key(word))]
        try:
            defaults = _defaults(folder, words)
            _refuse_unknown_keys(folder, words, defaults)
            composed = compose("config", overrides=[overrides[word] for word in own])
            given = _values_passed_on(composed, {_key(word): parsed[word] for word in passed})
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(_first_line(error)) from error
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        keys = ", ".join(f"{key}=..." for key in missing)
        raise ValueError(f"not given: {keys} (helmsight {folder.name} --help says what they mean)")
    resolved: Any = OmegaConf.to_container(composed, resolve=True)
    kinds: Any = OmegaConf.to_container(defaults)
    called = CALLING.get(folder.name, ())
    for name in called:
        resolved[name] = flatten(resolved[name])
    for key, value in given.items():
        name, _, rest = key.partition(".")
        resolved[name] |= flatten({rest: value})
    judged_here = {name: value for name, value in resolved.items() if name not in called}
    return resolved | checked(kinds, judged_here)


def _values_passed_on(composed: Any, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each key whose word another command gets.

    Hydra's grammar reads them, but Hydra does not merge them: `train.policy=parking` and
    `train.policy.width=64` are two words, of which a merge keeps the last alone.
    """
    from omegaconf import OmegaConf

    values = []
    for key, override in parsed.items():
        if override.is_sweep_override():
            text = override.input_line.partition("=")[2]
            raise ValueError(
                f"{key}={text} holds several values; one value with commas needs quotes of its "
                f'own: "{key}={quoted(text)}"'
            )
        values.append(override.value())
    beside: Any = OmegaConf.to_container(composed)
    resolved: Any = OmegaConf.to_container(
        OmegaConf.create({**beside, "_passed_on": values}), resolve=True
    )
    return dict(zip(parsed, resolved["_passed_on"], strict=True))


def _parsed(overrides: Mapping[str, str]) -> dict[str, Any]:
    """What Hydra's grammar reads in the override of each word.

    Raises ValueError naming a word whose value is not in that grammar, with how to write it.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = {}
    for word, override in overrides.items():
        try:
            parsed[word] = parser.parse_override(override)
        except HydraException as error:
            key, _, value = word.partition("=")
            raise ValueError(
                f"{word} is not understood ({str(error).splitlines()[0]}); a value with special "
                f'characters needs quotes of its own: "{key}={quoted(value)}"'
            ) from error
    return parsed


def _groups(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def _defaults(folder: Path, words: list[str]) -> Any:
    """The configuration with only the words that choose a file of a group."""
    from hydra import compose

    groups = _groups(folder)
    return compose("config", overrides=[w for w in words if w.split("=")[0] in groups])


def _refuse_unknown_keys(folder: Path, words: list[str], defaults: Any) -> None:
    """Names an unknown key with its near match, which Hydra's own message does not."""
    known = set(_flat_keys(defaults)) | _groups(folder)
    for word in words:
        key = word.split("=")[0].lstrip("+~")
        if key in known or _is_new(folder, key):
            continue
        near = get_close_matches(key, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        top = ", ".join(sorted(name for name in known if "." not in name))
        raise ValueError(f"unknown key {key!r}{hint} (keys: {top})")


def _key(word: str) -> str:
    """A word's key without the signs that let Hydra add it."""
    return word.partition("=")[0].lstrip("+")


def _is_new(folder: Path, key: str) -> bool:
    """Whether a key may be one that the defaults do not have."""
    first, dot, _ = key.partition(".")
    return bool(dot) and (first in OPEN or _is_passed_on(folder, key))


def _is_passed_on(folder: Path, key: str) -> bool:
    """Whether a key is one of another command that this one calls."""
    first, dot, _ = key.partition(".")
    return bool(dot) and first in CALLING.get(folder.name, ())


def _as_override(folder: Path, word: str) -> str:
    """A word for Hydra's grammar."""
    key, value = _key(word), word.partition("=")[2]
    sign = "++" if _is_new(folder, key) else ""
    text = key.partition(".")[2] if _is_passed_on(folder, key) else key
    if text in LITERAL and value != "null" and not value.startswith(("[", "'", '"')):
        return f"{sign}{key}={quoted(value)}"
    return f"{sign}{key}={value}" if sign else word


def quoted(text: str) -> str:
    """Text as Hydra's grammar reads it back."""
    # A backslash means itself but before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _flat_keys(config: Any, prefix: str = "") -> list[str]:
    from omegaconf import DictConfig

    keys = []
    for key in config:
        path = f"{prefix}{key}"
        keys.append(path)
        node = config._get_node(key)
        if isinstance(node, DictConfig):
            keys += _flat_keys(node, f"{path}.")
    return keys


def _first_line(error: Exception) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text.split(" See https://")[0]


def _help(command: str, folder: Path) -> str:
    """The configuration files themselves: every key, its default and its comment."""
    files = [folder / "config.yaml"]
    files += sorted(path for path in folder.glob("*/*.yaml"))
    parts = [f"usage: helmsight {command} KEY=VALUE ...", ""]
    for file in files:
        name = file.relative_to(folder).with_suffix("")
        if len(name.parts) == 2:
            parts.append(f"--- with {name.parts[0]}={name.parts[1]}")
        lines = file.read_text(encoding="utf-8").splitlines()
        parts += [line for line in lines if not line.startswith("# @package")]
    return "\n".join(parts)
