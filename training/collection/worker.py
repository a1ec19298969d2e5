"""A collection worker: one process with one simulator that turns attempts into staged episodes."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from helmsight.training.collection.demonstration import Attempt, FailedAttempt
from helmsight.training.collection.settings import CollectionSettings
from helmsight.training.dataset.staging import StagedEpisode


class AttemptResult(NamedTuple):
    """What an attempt gave: a staged episode, or why there is none; what the log shall add."""

    attempt: Attempt
    staged: StagedEpisode | None
    failure: str | None
    log: dict[str, Any]


class CollectionWorker:
    """Carries out attempts and encodes what succeeds into a staging folder."""

    def __init__(self, settings: CollectionSettings, staging_folder: Path) -> None:
        import cv2

        # The workers are the parallelism; threads inside them only fight for the cores.
        cv2.setNumThreads(1)
        self._staging_folder = staging_folder
        self._features = settings.features()
        self._rate = settings.embodiment().rate_hz
        self._demonstrator = settings.make_demonstrator()

    def run(self, attempt: Attempt) -> AttemptResult:
        """Carry out one attempt. OSError where the staging folder's disk is full."""
        from helmsight.training.dataset.staging import stage_episode

        try:
            demonstration = self._demonstrator.run(attempt)
        except FailedAttempt as failure:
            return AttemptResult(attempt, None, str(failure), {})
        staged = stage_episode(
            self._staging_folder / f"attempt-{attempt.number:08d}",
            self._features,
            self._rate,
            demonstration.columns,
            demonstration.task,
        )
        return AttemptResult(attempt, staged, None, demonstration.log)

    def close(self) -> None:
        self._demonstrator.close()


def start_workers(settings: CollectionSettings, staging_folder: Path) -> Executor:
    """An executor for `run_attempt` with the settings' number of processes."""
    if settings.workers == 0:
        return _InThisProcess(CollectionWorker(settings, staging_folder))
    return ProcessPoolExecutor(
        settings.workers,
        mp_context=get_context("spawn"),
        initializer=_set_up_process,
        initargs=(settings, staging_folder),
    )


_process_worker: CollectionWorker | None = None


def run_attempt(attempt: Attempt) -> AttemptResult:
    """Carry out an attempt with this process's worker."""
    assert _process_worker is not None
    return _process_worker.run(attempt)


def _set_up_process(settings: CollectionSettings, staging_folder: Path) -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    global _process_worker
    _process_worker = CollectionWorker(settings, staging_folder)


def _end_with_parent() -> None:
    """A killed parent tells nobody: without this its workers would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _InThisProcess(Executor):
    """Runs each call when it is submitted."""

    def __init__(self, worker: CollectionWorker) -> None:
        global _process_worker
        self._worker = _process_worker = worker

    def submit(self, function, /, *arguments, **named):  # type: ignore[no-untyped-def]
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._worker.close()
