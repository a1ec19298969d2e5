"""`helmsight sweep`: train and evaluate variants of a policy on the same data, in pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from helmsight.cli.configuration import configuration
from helmsight.cli.demo import override_words
from helmsight.cli.output_folder import SWEEP, output_folder
from helmsight.cli.sweep_jobs import (
    OWN,
    Job,
    Tests,
    driven_episodes,
    evaluations,
    explanation,
    jobs,
    measured_episodes,
    refuse_own_keys,
    refuse_wrong_words,
)

EXPLANATION = "explanation"
SECONDS_BETWEEN_LOOKS = 5.0


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
        refuse_own_keys(called, values[called], f"{called}.")
    out = output_folder(values["out"], SWEEP)
    sweep = list(jobs(values, out))
    tests = Tests(list(evaluations(values)), explanation(values))
    refuse_wrong_words(sweep, tests)
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
        maps = compare_maps(explained, measured_episodes(tests.explanation))
    driven = {name: driven_episodes(words) for name, words in tests.evaluations}
    summary = SweepSummary(compare_outcomes(folders, baseline, driven), maps)
    summary.write(out)
    print(f"\n{summary.tables()}\n\n{out / 'table.md'}, {out / 'figure.svg'}")


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
