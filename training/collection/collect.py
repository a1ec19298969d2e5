"""Collect demonstrations: workers carry out attempts, this process commits them in order.

What is recorded, the settings say (`CollectionSettings`). Attempt k of a round is a pure function
of (settings, round, k), and attempts join the data set in the order of k, each as long as its group
(a task, say) is not full: the data set is the same at any number of workers, and a collection that
was stopped goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from helmsight.training.collection.progress import CollectionDisplay
from helmsight.training.collection.settings import (
    CollectionSettings,
    remember,
    require_remembered,
)
from helmsight.training.collection.worker import AttemptResult, run_attempt, start_workers
from helmsight.training.dataset.format import (
    COLLECTION_LOG_PATH,
    INFO_PATH,
    DatasetError,
    Features,
)
from helmsight.training.dataset.metadata import load_collection_log, load_info
from helmsight.training.dataset.writer import DatasetWriter

SUMMARY_FILE = "summary.json"
# Attempts that each worker may be ahead of the one whose turn it is to be committed.
_AHEAD = 3
_MANY_FAILURES = 200


@dataclass(frozen=True)
class CollectionSummary:
    """What a collection gave.

    episodes, frames: in the data set now. attempts: of all rounds. failures: attempts without a
    demonstration by `<phase>: <reason>`. expert_success: share of clean attempts that gave one,
    None without clean attempts. new_episodes, seconds, episodes_per_hour (also per worker): of
    this run alone, 0 where there was nothing left to do. interrupted: stopped before it was done.
    """

    episodes: int
    frames: int
    attempts: int
    failures: dict[str, int]
    expert_success: float | None
    new_episodes: int
    seconds: float
    episodes_per_hour: float
    episodes_per_hour_and_worker: float
    interrupted: bool


def collect(settings: CollectionSettings, show_progress: bool = True) -> CollectionSummary:
    """Collect until the data set holds `settings.quotas()`; write `summary.json` into it.

    A complete data set is left as it is. Ctrl-C ends the collection with every committed episode
    in the data set; the same settings go on from there.
    Raises ValueError for settings other than those the data set was collected with, OSError for a
    full disk, RuntimeError where a worker died or nothing but failures comes; whatever was
    committed is safe in each case.
    """
    fresh = not (settings.out / INFO_PATH).is_file()
    settings.check()
    if fresh:
        require_remembered(settings, log=[])  # nothing is made for a round that can not be
    with closing(_open_data_set(settings, fresh)) as writer:
        log = read_log(settings)
        require_remembered(settings, log)
        _require_features(settings, writer)
        tally = Tally(settings.quotas(), log)
        display = CollectionDisplay(tally.wanted, tally.present, show_progress)
        if tally.is_complete:
            display.say(
                f"{settings.out} already holds {writer.num_episodes} of {tally.wanted} "
                "episodes: nothing to do."
            )
            return _summarise(writer, log, 0, 0.0, settings, interrupted=False)
        remember(settings, log)
        start, before = time.monotonic(), writer.num_episodes
        with display:
            interrupted = _collect_missing(settings, writer, log, tally, display)
        seconds = time.monotonic() - start
        if interrupted:
            log = read_log(settings)  # with the line of a commit that was interrupted at its end
        new = writer.num_episodes - before
        summary = _summarise(writer, log, new, seconds, settings, interrupted)
        text = json.dumps(dataclasses.asdict(summary), indent=2)
        (settings.out / SUMMARY_FILE).write_text(text + "\n")
        if interrupted:
            display.say(
                f"Interrupted with {writer.num_episodes} of {tally.wanted} episodes in "
                f"{settings.out}. Run the same command again to go on."
            )
        return summary


class Tally:
    """How many episodes of each group the data set holds of those wanted."""

    def __init__(self, quotas: dict[str, int], log: list[dict[str, Any]]) -> None:
        self._quotas = quotas
        lines = [line for line in log if line["failure"] is None]
        self._counts = Counter(str(line.get("group", "")) for line in lines)

    @property
    def wanted(self) -> int:
        return sum(self._quotas.values())

    @property
    def present(self) -> int:
        """Episodes that count towards the quotas."""
        return sum(min(self._counts[group], quota) for group, quota in self._quotas.items())

    @property
    def is_complete(self) -> bool:
        return all(self.is_full(group) for group in self._quotas)

    def is_full(self, group: str) -> bool:
        return self._counts[group] >= self._quotas[group]

    def add(self, group: str) -> None:
        self._counts[group] += 1


def read_log(settings: CollectionSettings) -> list[dict[str, Any]]:
    """The attempts of all rounds so far, in the order in which they were committed.

    Raises DatasetError where the log does not count the data set's episodes: going on would record
    some of them again.
    """
    log = load_collection_log(settings.out)
    counted = [line["episode_index"] for line in log if line.get("episode_index") is not None]
    total = load_info(settings.out)["total_episodes"]
    if counted != list(range(total)):
        raise DatasetError(
            f"{settings.out / COLLECTION_LOG_PATH}: counts {len(counted)} episodes, the data set "
            f"has {total}; without its whole log a collection cannot go on, take another out="
        )
    return log


def _open_data_set(settings: CollectionSettings, fresh: bool) -> DatasetWriter:
    if not fresh:
        return DatasetWriter.open(settings.out)
    embodiment = settings.embodiment()
    return DatasetWriter.create(settings.out, settings.features(), embodiment.rate_hz, embodiment)


def _require_features(settings: CollectionSettings, writer: DatasetWriter) -> None:
    ours, theirs = _shapes(settings.features()), _shapes(writer.features)
    differing = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if differing:
        raise ValueError(f"the data set in {settings.out} differs in {', '.join(differing)}")


def _shapes(features: Features) -> dict[str, tuple[Any, ...]]:
    """What makes features the same; a video's also tell its encoding once there is one."""
    return {key: (entry["dtype"], *entry["shape"]) for key, entry in features.items()}


def _collect_missing(
    settings: CollectionSettings,
    writer: DatasetWriter,
    log: list[dict[str, Any]],
    tally: Tally,
    display: CollectionDisplay,
) -> bool:
    """Commit attempts until the data set is full; return whether Ctrl-C came first."""
    done = [line["attempt"] for line in log if line.get("round") == settings.round]
    executor = start_workers(settings, writer.staging_folder)
    interrupted, in_a_row = False, 0
    try:
        for result in _results_in_order(settings, executor, max(done, default=-1) + 1, tally):
            if tally.is_full(result.attempt.group):
                continue  # begun before its group was full: as if it had not been
            line = {"round": settings.round, **result.attempt.log(), "failure": result.failure}
            if result.staged is None:
                writer.log_attempt(line)
                in_a_row += 1
            else:
                line |= {"length": result.staged.length, **result.log}
                writer.commit(result.staged, line)
                tally.add(result.attempt.group)
                in_a_row = 0
            log.append(line)
            display.update(tally.present, result.failure)
            if tally.is_complete:
                break
            if in_a_row >= _MANY_FAILURES:
                raise RuntimeError(
                    f"{in_a_row} attempts in a row failed, the last with {result.failure!r}; "
                    f"the {writer.num_episodes} episodes in {settings.out} are safe"
                )
    except KeyboardInterrupt:
        interrupted = True
        display.say("Stopping: waiting for the attempts under way ...")
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"a collection worker died (out of memory, or killed); the {writer.num_episodes} "
            f"episodes in {settings.out} are safe, run the same command again to go on"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return interrupted


def _results_in_order(
    settings: CollectionSettings, executor: Executor, first: int, tally: Tally
) -> Iterator[AttemptResult]:
    """Results of attempts `first`, `first` + 1, ... for ever, without those of full groups."""
    # In this process an attempt runs when it is submitted: none ahead.
    ahead = max(1, _AHEAD * settings.workers)
    waiting: deque[Future[AttemptResult]] = deque()
    number = first
    while True:
        while len(waiting) < ahead:
            attempt = settings.draw_attempt(number)
            number += 1
            if not tally.is_full(attempt.group):
                waiting.append(executor.submit(run_attempt, attempt))
        yield waiting.popleft().result()


def _summarise(
    writer: DatasetWriter,
    log: list[dict[str, Any]],
    new_episodes: int,
    seconds: float,
    settings: CollectionSettings,
    interrupted: bool,
) -> CollectionSummary:
    clean = [line["failure"] is None for line in log if line["mode"] == "clean"]
    rate = 3600.0 * new_episodes / seconds if seconds > 0.0 else 0.0
    failures = Counter(line["failure"] for line in log if line["failure"] is not None)
    return CollectionSummary(
        episodes=writer.num_episodes,
        frames=writer.num_frames,
        attempts=len(log),
        failures=dict(failures.most_common()),
        expert_success=sum(clean) / len(clean) if clean else None,
        new_episodes=new_episodes,
        seconds=round(seconds, 1),
        episodes_per_hour=round(rate, 1),
        episodes_per_hour_and_worker=round(rate / max(1, settings.workers), 1),
        interrupted=interrupted,
    )
