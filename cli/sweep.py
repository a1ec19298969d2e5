"""`helmsight sweep`: train and evaluate variants of a policy on the same data, in pairs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration
from helmsight.cli.demo import override_words
from helmsight.cli.output_folder import SWEEP, output_folder


@dataclass(frozen=True)
class Job:
    """One variant trained with one seed: `words` go to `helmsight train`."""

    variant: str
    seed: int
    words: list[str]
    folder: Path


def run(words: list[str]) -> int:
    """Train and evaluate every job, then compare; returns the first exit code that is not 0.

    Raises ValueError, before any work, for a word that training or evaluation does not know.
    """
    values = configuration("sweep", words)
    if values is None:
        return 0
    from helmsight.eval.sweep import summarise

    out = output_folder(values["out"], SWEEP)
    sweep = list(jobs(values, out))
    evaluated = list(evaluations(values))
    _refuse_wrong_words(sweep, evaluated)
    for number, job in enumerate(sweep, start=1):
        print(f"\n[{number}/{len(sweep)}] {job.variant}, seed {job.seed}", flush=True)
        code = _run_job(job, evaluated)
        if code != 0:
            return code
    folders: dict[str, list[Path]] = {}
    for job in sweep:
        folders.setdefault(job.variant, []).append(job.folder)
    summary = summarise(folders, values["baseline"], [name for name, _ in evaluated])
    summary.write(out)
    print(f"\n{summary.table()}\n\n{out / 'table.md'}, {out / 'figure.svg'}")
    return 0


def jobs(values: Mapping[str, Any], out: Path) -> Iterator[Job]:
    """Every variant, the baseline first, with every seed; seeds vary slowest.

    Raises ValueError for a variant that Hydra's grammar does not know, or that comes twice.
    """
    variants = [values["baseline"]]
    for line in values["variants"]:
        variants += expand(line)
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

    `attention=none,jacobian seed=1` gives `attention=none seed=1` and `attention=jacobian seed=1`.
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


def _refuse_wrong_words(sweep: list[Job], evaluated: list[tuple[str, list[str]]]) -> None:
    for job in {job.variant: job for job in sweep}.values():
        try:
            configuration("train", job.words)
        except ValueError as error:
            raise ValueError(f"variant {job.variant!r}: {error}") from error
    for name, words in evaluated:
        try:
            configuration("eval", ["checkpoint=trained", "out=evaluated", *words])
        except ValueError as error:
            raise ValueError(f"evaluation {name!r}: {error}") from error


def _run_job(job: Job, evaluated: list[tuple[str, list[str]]]) -> int:
    """Train, then evaluate; both know what is complete on disk, and refuse what is another's."""
    code: int = import_module("helmsight.cli.train").run(job.words)
    for name, words in evaluated:
        if code != 0:
            return code
        where = {"checkpoint": str(job.folder / "run"), "out": str(job.folder / name)}
        code = import_module("helmsight.cli.eval").run([*override_words(where), *words])
    return code
