"""What a sweep consists of: trainings, and the tests of each, as words for other commands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration
from helmsight.cli.demo import override_words

# Words of the called commands that a sweep sets itself, and the key of its own that sets them.
OWN: dict[str, dict[str, str | None]] = {
    "train": {"seed": "seeds=[...]", "data": "data=...", "out": "out=..."},
    "evaluate": {"checkpoint": None, "workers": "workers=...", "out": "out=..."},
    "explain": {"checkpoint": None, "workers": "workers=...", "out": "out=..."},
}
TESTED = ("checkpoint=trained", "out=tested")  # as long as nothing is


@dataclass(frozen=True)
class Job:
    """One variant trained with one seed: `words` go to `helmsight train`."""

    variant: str
    seed: int
    words: list[str]
    folder: Path


@dataclass(frozen=True)
class Tests:
    """What every trained policy goes through.

    evaluations: name and words for `helmsight eval`. explanation: words for `helmsight explain`,
    None where the maps are not measured.
    """

    evaluations: list[tuple[str, list[str]]]
    explanation: list[str] | None


def jobs(values: Mapping[str, Any], out: Path) -> Iterator[Job]:
    """Every variant, the baseline first, with every seed; seeds vary slowest.

    Raises ValueError for a variant that Hydra's grammar does not know, that sets what the sweep
    sets, or that comes twice.
    """
    variants = [values["baseline"]]
    for line in values["variants"]:
        variants += expand(line)
    for variant in variants:
        keys = [word.partition("=")[0] for word in variant.split()]
        refuse_own_keys("train", keys, f"variant {variant!r}: ")
    twice = sorted({name for name in variants if variants.count(name) > 1})
    if twice:
        raise ValueError(f"variants must differ; {', '.join(twice)} comes more than once")
    seeds = values["seeds"]
    if (
        not seeds
        or any(not isinstance(seed, int) for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ValueError(f"seeds must be different whole numbers, at least one; got {seeds}")
    common = list(override_words({"data": values["data"], **values["train"]}))
    names = _folder_names(variants)
    for seed, variant in itertools.product(seeds, variants):
        folder = out / names[variant] / f"seed-{seed}"
        own = [*variant.split(), f"seed={seed}"]
        taken = {word.split("=")[0] for word in own}
        kept = [word for word in common if word.split("=")[0] not in taken]
        out_word = next(override_words({"out": str(folder / "run")}))
        yield Job(variant, seed, [*kept, *own, out_word], folder)


def expand(line: str) -> list[str]:
    """The variants that a line with commas stands for, by the grammar of Hydra's multirun.

    `vision=film,plain attention=none` gives `vision=film attention=none` and the same with plain.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Transformer
    from hydra.errors import HydraException

    try:
        overrides = OverridesParser.create().parse_overrides(line.split())
    except HydraException as error:
        raise ValueError(f"variant {line!r}: {str(error).splitlines()[0]}") from error
    choices = []
    for override in overrides:
        if override.is_sweep_override():
            key = override.get_key_element()
            values = override.sweep_iterator(transformer=Transformer.identity)
            choices.append([word for value in values for word in override_words({key: value})])
        else:
            choices.append([str(override.input_line)])
    return [" ".join(words) for words in itertools.product(*choices)]


def _folder_names(variants: list[str]) -> dict[str, str]:
    """A folder's name for each variant: its words without the groups of their keys.

    `attention=none policy.attention.detached=true` lies in `attention-none_detached-true`. Variants
    that the shorter names do not tell apart have their keys in full.
    """
    short = {variant: _folder_name(variant, groups=False) for variant in variants}
    shared = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {
        variant: _folder_name(variant, groups=True) if name in shared else name
        for variant, name in short.items()
    }


def _folder_name(variant: str, groups: bool) -> str:
    """A variant's words as a name that needs no quotes anywhere."""
    words = (word.partition("=") for word in variant.split())
    named = [f"{key if groups else key.rpartition('.')[2]}-{value}" for key, _, value in words]
    return re.sub(r"[^\w.-]", "-", "_".join(named), flags=re.ASCII)


def evaluations(values: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Name and words of every evaluation of a job: where a value is a list, one for each entry."""
    evaluate = dict(values["evaluate"])
    lists = {key: evaluate.pop(key) for key in list(evaluate) if isinstance(evaluate[key], list)}
    common = list(override_words({**evaluate, "workers": values["workers"]}))
    for chosen in itertools.product(*lists.values()):
        name = "-".join(_as_name(value) for value in chosen) or "evaluation"
        yield name, [*override_words(dict(zip(lists, chosen, strict=True))), *common]


def _as_name(value: Any) -> str:
    """A value as part of a folder's name: `test`, or `0_3` for the list [0, 3]."""
    if isinstance(value, list):
        return "_".join(map(_as_name, value))
    return str(value).replace("/", "_")


def explanation(values: Mapping[str, Any]) -> list[str] | None:
    """The words of every job's explanation; None where nothing of the maps is to be measured.

    Raises ValueError where an arm is to be measured without recorded data.
    """
    explain = values["explain"]
    if not explain.get("metrics"):
        return None
    if values["evaluate"].get("env") == "libero" and explain.get("data") is None:
        raise ValueError(
            "explain.metrics=true measures an arm's maps over recorded data: give explain.data=..."
        )
    return list(override_words({**explain, "workers": values["workers"]}))


def refuse_own_keys(called: str, keys: Iterable[str], where: str) -> None:
    """Raises ValueError for a key of a called command that the sweep sets itself.

    where: what the key's name follows in the message.
    """
    for key in keys:
        if key in OWN[called]:
            instead = OWN[called][key]
            hint = f"; give {instead}" if instead else ": every job tests what it trained"
            raise ValueError(f"{where}{key} is set by the sweep itself{hint}")


def refuse_wrong_words(sweep: list[Job], tests: Tests) -> None:
    """Raises ValueError for a word that a called command does not know, naming where it stands."""
    for job in {job.variant: job for job in sweep}.values():
        try:
            configuration("train", job.words)
        except ValueError as error:
            raise ValueError(f"variant {job.variant!r}: {error}") from error
    for name, words in tests.evaluations:
        try:
            configuration("eval", [*TESTED, *words])
        except ValueError as error:
            raise ValueError(f"evaluation {name!r}: {error}") from error
    try:
        configuration("explain", [*TESTED, *(tests.explanation or [])])
    except ValueError as error:
        raise ValueError(f"explanation: {error}") from error


def driven_episodes(words: list[str]) -> list[int]:
    """The episodes of an evaluation."""
    from helmsight.cli.eval import episodes_to_drive
    from helmsight.cli.explain import episode_numbers

    values = configuration("eval", [*TESTED, *words])
    assert values is not None  # no help was asked for
    return episode_numbers(episodes_to_drive(values))


def measured_episodes(words: list[str]) -> list[int]:
    """The episodes of an explanation."""
    from helmsight.cli.explain import episode_numbers

    values = configuration("explain", [*TESTED, *words])
    assert values is not None
    return episode_numbers(values["episodes"])
