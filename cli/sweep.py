"""`helmsight sweep`: train and evaluate variants of a policy on the same data, in pairs."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration
from helmsight.cli.demo import override_words
from helmsight.cli.output_folder import SWEEP, output_folder

EXPLANATION = "explanation"
# Words of the called commands that a sweep sets itself, and the key of its own that sets them.
OWN: dict[str, dict[str, str | None]] = {
    "train": {"seed": "seeds=[...]", "data": "data=...", "out": "out=..."},
    "evaluate": {"checkpoint": None, "workers": "workers=...", "out": "out=..."},
    "explain": {"checkpoint": None, "workers": "workers=...", "out": "out=..."},
}
SECONDS_BETWEEN_LOOKS = 5.0
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


def run(words: list[str]) -> int:
    """Train and test every job, then compare; returns the first exit code that is not 0.

    Jobs that another process works at are left to it: the same command, started again beside the
    first, shares the work.

    Raises ValueError, before any work, for a word that a called command does not know.
    """
    values = configuration("sweep", words)
    if values is None:
        return 0
    for called in OWN:
        _refuse_own_keys(called, values[called], f"{called}.")
    out = output_folder(values["out"], SWEEP)
    sweep = list(jobs(values, out))
    tests = Tests(list(evaluations(values)), explanation(values))
    _refuse_wrong_words(sweep, tests)
    code = share(sweep, lambda job: _run_job(job, tests))
    if code == 0:
        _compare(sweep, values["baseline"], tests, out)
    return code


def share(sweep: Sequence[Job], work: Callable[[Job], int]) -> int:
    """Work at every job that no other process works at, then wait for theirs.

    A job that another process gave up, or was killed at, is taken over. Returns the first exit code
    that is not 0.
    """
    from helmsight.training.file_lock import lock_file

    pending, said = list(enumerate(sweep, start=1)), 0
    while pending:
        others = []
        for number, job in pending:
            job.folder.mkdir(parents=True, exist_ok=True)
            lock = lock_file(job.folder / ".lock")
            if lock is None:
                others.append((number, job))
                continue
            with lock:
                print(f"\n[{number}/{len(sweep)}] {job.variant}, seed {job.seed}", flush=True)
                code = work(job)
            if code != 0:
                return code
        if len(others) == len(pending):
            if said != len(others):
                said = len(others)
                print(f"\nwaiting for {said} that other processes work at", flush=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        pending = others
    return 0


def _compare(sweep: Sequence[Job], baseline: str, tests: Tests, out: Path) -> None:
    """Compare all jobs, and print and write what comes of it."""
    from helmsight.eval.sweep.maps import compare_maps
    from helmsight.eval.sweep.outcomes import compare_outcomes
    from helmsight.eval.sweep.summary import SweepSummary

    folders: dict[str, list[Path]] = {}
    for job in sweep:
        folders.setdefault(job.variant, []).append(job.folder)
    maps = None
    if tests.explanation is not None:
        explained = {
            variant: [folder / EXPLANATION for folder in seeds]
            for variant, seeds in folders.items()
        }
        maps = compare_maps(explained, _measured(tests.explanation))
    driven = {name: _driven(words) for name, words in tests.evaluations}
    summary = SweepSummary(compare_outcomes(folders, baseline, driven), maps)
    summary.write(out)
    print(f"\n{summary.tables()}\n\n{out / 'table.md'}, {out / 'figure.svg'}")


def _driven(words: list[str]) -> list[int]:
    """The episodes of an evaluation."""
    from helmsight.cli.eval import episodes_to_drive

    values = configuration("eval", [*TESTED, *words])
    assert values is not None  # no help was asked for
    episodes = episodes_to_drive(values)
    return list(range(episodes)) if isinstance(episodes, int) else sorted(set(episodes))


def _measured(words: list[str]) -> list[int]:
    """The episodes of an explanation."""
    from helmsight.cli.explain import episode_numbers

    values = configuration("explain", [*TESTED, *words])
    assert values is not None
    return episode_numbers(values["episodes"])


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
        _refuse_own_keys("train", keys, f"variant {variant!r}: ")
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
    explain = {key: value for key, value in values["explain"].items() if value is not None}
    if not explain.get("metrics"):
        return None
    if values["evaluate"].get("env") == "libero" and "data" not in explain:
        raise ValueError(
            "explain.metrics=true measures an arm's maps over recorded data: give explain.data=..."
        )
    return list(override_words({**explain, "workers": values["workers"]}))


def _refuse_own_keys(called: str, keys: Iterable[str], where: str) -> None:
    for key in keys:
        if key in OWN[called]:
            instead = OWN[called][key]
            hint = f"; give {instead}" if instead else ": every job tests what it trained"
            raise ValueError(f"{where}{key} is set by the sweep itself{hint}")


def _refuse_wrong_words(sweep: list[Job], tests: Tests) -> None:
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


def _run_job(job: Job, tests: Tests) -> int:
    """Train, then test; each knows what is complete on disk, and refuses what is another's."""
    code: int = import_module("helmsight.cli.train").run(job.words)
    trained = {"checkpoint": str(job.folder / "run")}
    for name, words in tests.evaluations:
        if code != 0:
            return code
        where = override_words({**trained, "out": str(job.folder / name)})
        code = import_module("helmsight.cli.eval").run([*where, *words])
    if code == 0 and tests.explanation is not None:
        where = override_words({**trained, "out": str(job.folder / EXPLANATION)})
        code = _explain([*where, *tests.explanation])
    return code


def _explain(words: list[str]) -> int:
    """Measure a policy's maps, if it has any."""
    from helmsight.policies.explainable import NothingToExplainError

    try:
        code: int = import_module("helmsight.cli.explain").run(words)
    except NothingToExplainError as nothing:
        print(f"no maps to measure: {nothing}")
        return 0
    return code
