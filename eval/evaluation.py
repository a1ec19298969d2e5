"""`evaluate`: roll-outs of one policy over the episodes of one environment, and their report.

Every episode is a pure function of its index, so records do not depend on the number of workers
or on how often the evaluation was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import torch

from helmsight.eval.calls import (
    adopt_former_call,
    begin_call,
    calls_of,
    different_code,
)
from helmsight.eval.environments import environment_identity, make_environment
from helmsight.eval.episode_kinds import EpisodeKind, episode_kind
from helmsight.eval.folder_log import write_atomically
from helmsight.eval.pool import run_jobs
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.provenance import command_line, provenance
from helmsight.eval.records import EpisodeLog, EpisodeRecord
from helmsight.eval.rollout import EpisodeRunner
from helmsight.eval.sources import CheckpointSource, PolicySource, policy_source
from helmsight.eval.statistics import Interval


@dataclass(frozen=True)
class EvaluationSettings:
    """One evaluation.

    checkpoint: a checkpoint or run folder, the name of a registered driver, or a `PolicySource`.
    episodes: how many (0 to n - 1), or which. env_kwargs: options of the environment.
    motion: what the target is tracked with: a motion model's folder, run or name; None: a bicycle.
    success_videos, failure_videos: how many episodes of each are filmed at most.
    threads: torch threads of each worker; with another number the last digits may differ.
    command: what reproduces this evaluation; by default the command line of this process.
    """

    checkpoint: str | Path | PolicySource
    out: Path
    env: str = "helmsight/Parking-v0"
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    episodes: int | Sequence[int] = 96
    workers: int = 1
    seed: int = 0
    success_videos: int = 4
    failure_videos: int = 16
    device: str = "cpu"
    threads: int = 1
    motion: str | Path | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        for name in ("success_videos", "failure_videos"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not self.episode_indices:
            raise ValueError("there is no episode to evaluate; episodes must be 1 or more")

    @property
    def episode_indices(self) -> list[int]:
        """The episodes, ascending, each once."""
        if isinstance(self.episodes, int):
            return list(range(self.episodes))
        return sorted(set(self.episodes))

    @property
    def kind(self) -> EpisodeKind:
        """What the episodes are counted by."""
        return episode_kind(self.env)

    @property
    def source(self) -> PolicySource:
        if isinstance(self.checkpoint, str | Path):
            return policy_source(self.checkpoint)
        return self.checkpoint


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds: metrics by published name, and where they come from."""

    metrics: dict[str, Interval]
    provenance: dict[str, Any]
    episodes: int
    errors: int
    tasks: dict[str, Interval] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form; `tasks` is left out where there is but one."""
        data = asdict(self)
        for part in ("metrics", "tasks"):
            data[part] = {name: value._asdict() for name, value in getattr(self, part).items()}
        if not self.tasks:
            del data["tasks"]
        return data

    def table(self) -> str:
        """The metrics as plain text, one a line, and the success of each task."""
        definitions = episode_kind(self.provenance["env"]).definitions
        lines = [
            _table_line(f"{name:<5}", value, definitions[name].unit if name in definitions else "")
            for name, value in self.metrics.items()
        ]
        width = max(map(len, self.tasks), default=0)
        lines += [_table_line(f"{name:<{width}}", value, "%") for name, value in self.tasks.items()]
        warning = different_code(self.provenance.get("calls", []))
        lines += [] if warning is None else [warning]
        return "\n".join(lines)


class EvaluationInterrupted(KeyboardInterrupt):
    """Ctrl-C during an evaluation; the message says what is on disk and how to go on."""


class EpisodesFailed(RuntimeError):
    """Some episodes ended in an error of the simulator or policy, so the result is incomplete."""

    def __init__(self, summary: Summary, message: str) -> None:
        super().__init__(message)
        self.summary = summary


class Job(Protocol):
    """Something to do with a runner in a worker."""

    def run(self, runner: EpisodeRunner) -> Any: ...


@dataclass(frozen=True)
class RollOut:
    """Run one episode and record it."""

    episode: int

    def run(self, runner: EpisodeRunner) -> EpisodeRecord:
        return runner.run(self.episode)


@dataclass(frozen=True)
class RunnerSetup:
    """Makes the runner of one process; called once in each worker."""

    source: PolicySource
    env: str
    env_kwargs: dict[str, Any]
    seed: int
    device: str
    threads: int
    motion: str | Path | None = None

    def __call__(self) -> Callable[[Job], Any]:
        torch.set_num_threads(self.threads)
        runner = EpisodeRunner(
            self.make_environment, self.source.load(self.device), self.seed, self.device
        )
        # What the environment or the policy refuses is one clear error, not one an episode.
        refuse_other_embodiment(runner.policy, runner.environment.unwrapped)
        return lambda job: job.run(runner)

    def make_environment(self) -> gymnasium.Env:
        if self.motion is None:
            return make_environment(self.env, self.env_kwargs)
        from helmsight.eval.learned_motion import load_motion

        return make_environment(self.env, {**self.env_kwargs, "motion": load_motion(self.motion)})


def refuse_other_embodiment(policy: Any, world: Any) -> None:
    """A policy trained for another robot is refused before it drives a metre.

    Raises ValueError with one line a difference.
    """
    trained_for = getattr(policy, "embodiment", None)
    driven = getattr(world, "embodiment", None)
    if trained_for is None or driven is None:
        return
    differences = trained_for.differences(driven)
    if differences:
        raise ValueError(
            "the policy was trained for another embodiment than the environment's (policy here, "
            "environment there; env= names the environment):\n  " + "\n  ".join(differences)
        )


def evaluate(settings: EvaluationSettings) -> Summary:
    """Run the missing episodes, then write `summary.json` and `report.html` into `settings.out`.

    Raises ValueError when `out` belongs to another evaluation, RuntimeError when another process
    is at work in it, EvaluationInterrupted on Ctrl-C
    (finished episodes stay; the same call resumes), and EpisodesFailed, after everything is
    written, when episodes ended in an error; those are left out of every metric and run again by
    the next call.
    """
    identity = evaluation_identity(settings)
    with EpisodeLog(settings.out, identity) as log:
        return _evaluate(settings, identity, log)


def _evaluate(settings: EvaluationSettings, identity: dict[str, Any], log: EpisodeLog) -> Summary:
    from helmsight.eval.filming import FilmChoice, make_films
    from helmsight.eval.report import ReportContent, write_report

    run_missing_episodes(settings, log)
    wanted = set(settings.episode_indices)
    records = [record for record in log.read().values() if record.episode in wanted]
    summary = summarise(settings, identity, records)
    text = json.dumps(summary.to_dict(), indent=2, allow_nan=False)
    write_atomically(Path(settings.out) / "summary.json", text + "\n")
    choice = FilmChoice(settings.failure_videos, settings.success_videos, settings.kind)
    films = make_films(records, choice, lambda jobs: run_on_workers(settings, jobs))
    content = ReportContent(
        summary.metrics, summary.provenance, records, films.films, films.note, settings.kind
    )
    write_report(Path(settings.out) / "report.html", content)
    if summary.errors:
        first = next(record for record in records if record.error is not None)
        raise EpisodesFailed(
            summary,
            f"{summary.errors} of {len(records)} episodes ended in an error and count in no "
            f"metric (episode {first.episode}: {first.error}); run the same command again to "
            "repeat them",
        )
    return summary


def evaluation_identity(settings: EvaluationSettings) -> dict[str, Any]:
    """What makes two evaluations the same: the policy's content, the environment, the seed.

    Neither the place of the checkpoint nor the number of workers or episodes is part of it.
    """
    identity = {
        "policy": _without_place(settings.source.provenance()),
        "env": settings.env,
        "env_kwargs": environment_identity(settings.env, settings.env_kwargs),
        "seed": settings.seed,
    }
    if settings.motion is not None:
        identity["motion"] = _without_place(CheckpointSource(Path(settings.motion)).provenance())
    return identity


def _without_place(origin: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in origin.items() if key != "checkpoint"}


def run_missing_episodes(settings: EvaluationSettings, log: EpisodeLog) -> None:
    """Run and record every wanted episode that has no record, or only an error, on disk."""
    finished = {index for index, record in log.read().items() if record.error is None}
    missing = [index for index in settings.episode_indices if index not in finished]
    total = len(settings.episode_indices)
    adopt_former_call(log.folder, sorted(finished))
    if not missing:
        return
    begin_call(log.folder, _this_call(settings), missing)
    with ProgressReporter("Evaluating", total, total - len(missing)) as progress:
        try:
            for job, result in run_on_workers(settings, [RollOut(index) for index in missing]):
                if isinstance(result, Exception):
                    message = f"{type(result).__name__}: {result}"
                    result = EpisodeRecord(job.episode, seed=settings.seed, error=message)
                log.append(result)
                progress.advance(result.success if result.error is None else None)
        except KeyboardInterrupt:
            done = len(log.read().keys() & set(settings.episode_indices))
            raise EvaluationInterrupted(
                f"interrupted: {done} of {total} episodes are in {log.path}; run the same "
                "command again to go on with the rest"
            ) from None


def run_on_workers(settings: EvaluationSettings, jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Do jobs (`.run(runner)`) here when one worker is asked for, else in as many processes."""
    setup = RunnerSetup(
        settings.source,
        settings.env,
        dict(settings.env_kwargs),
        settings.seed,
        settings.device,
        settings.threads,
        settings.motion,
    )
    if settings.workers > 1:
        yield from run_jobs(setup, jobs, settings.workers)
        return
    threads = torch.get_num_threads()
    try:
        answer = setup()
        for job in jobs:
            yield job, answer(job)
    finally:
        torch.set_num_threads(threads)


def summarise(
    settings: EvaluationSettings, identity: dict[str, Any], records: Sequence[EpisodeRecord]
) -> Summary:
    """Metrics over `records`, with everything that a reader needs to trust or repeat them.

    The provenance is that of the call which made the latest of them; `calls` has all calls.
    """
    options = identity["env_kwargs"]
    errors = sum(record.error is not None for record in records)
    counted = [record.episode for record in records if record.error is None]
    calls = calls_of(Path(settings.out), counted)
    latest = calls[-1] if calls else _this_call(settings)
    origin = {
        **{key: value for key, value in latest.items() if key != "episodes"},
        **settings.source.provenance(),
        "env": settings.env,
        "env_kwargs": options,
        "seed": settings.seed,
        **_of_a_car(options, identity),
        "calls": calls,
    }
    kind = settings.kind
    return Summary(
        kind.compute_metrics(records),
        origin,
        len(records) - errors,
        errors,
        kind.tasks(records),
    )


def _this_call(settings: EvaluationSettings) -> dict[str, Any]:
    """What this call makes its episodes with."""
    return {
        **provenance(),
        "timing": {
            "workers": settings.workers,
            "torch_threads": settings.threads,
            "device": settings.device,
        },
        "command": settings.command or command_line(),
    }


def _of_a_car(options: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """What results of driving depend on besides the policy."""
    if "target" not in options:
        return {}
    return {
        "simulator": options.get("simulator"),
        "target_source": options.get("target"),
        "motion": identity.get("motion", "bicycle"),
    }


def _table_line(name: str, interval: Interval, unit: str) -> str:
    if interval.value is None:
        return f"{name} {'-':>8}"
    line = f"{name} {interval.value:8.2f} {unit:<2}"
    if interval.low is not None and interval.high is not None:
        line += f"  [{interval.low:.2f}, {interval.high:.2f}]"
    return f"{line}  n={interval.n}"
