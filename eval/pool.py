"""Jobs over spawned worker processes that survive the death of any of them.

A worker is set up once (environment, policy) and then answers jobs one by one. Which worker does
which job is left to chance, so a job's result may depend on nothing but the job.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
# Called once in each worker; what it returns answers the jobs. Must be picklable.
Setup = Callable[[], Callable[[Job], Result]]


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a job, killed or crashed."""


class Done(NamedTuple, Generic[Job, Result]):
    """A job with its result, or with the death of the worker that had it."""

    job: Job
    result: Result | WorkerDied


class _Worker(Generic[Job, Result]):
    """One process, the pipe to it and the job that it has."""

    def __init__(self, setup: Setup[Job, Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, setup), daemon=True
        )
        self.process.start()
        # Keep only the worker's own handle open, so that its death reads as the end of the pipe.
        theirs.close()
        self.job: Job | None = None

    def send(self, job: Job) -> None:
        self.job = job
        self.connection.send(job)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


def run_jobs(
    setup: Setup[Job, Result], jobs: Iterable[Job], workers: int
) -> Iterator[Done[Job, Result]]:
    """Do all jobs on `workers` processes; yield each as it completes, in no particular order.

    Raises what `setup` raised in a worker. Closing the iterator stops the processes.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    waiting = deque(jobs)
    pool: list[_Worker[Job, Result]] = []
    try:
        for _ in range(min(workers, len(waiting))):
            pool.append(_Worker(setup))
            pool[-1].send(waiting.popleft())
        while busy := [worker for worker in pool if worker.job is not None]:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                done = _collect(worker)
                if isinstance(done.result, WorkerDied):
                    worker.stop()
                    pool.remove(worker)
                    if waiting:
                        worker = _Worker(setup)
                        pool.append(worker)
                if waiting:
                    worker.send(waiting.popleft())
                yield done
    finally:
        for worker in pool:
            worker.stop()


def _collect(worker: _Worker[Job, Result]) -> Done[Job, Result]:
    """The finished job of a worker whose pipe has something to read; the worker is free again."""
    assert worker.job is not None
    job, worker.job = worker.job, None
    try:
        failure, result = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Done(job, WorkerDied(f"the worker ended with code {worker.process.exitcode}"))
    if failure is not None:
        raise failure
    return Done(job, result)


def _serve(connection: Connection, setup: Setup[Job, Result]) -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer = setup()
        while True:
            connection.send((None, answer(connection.recv())))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        connection.send((_picklable(error), None))


def _picklable(error: Exception) -> Exception:
    """The error itself where it survives the way to the parent, else one with its traceback."""
    try:
        copy: Any = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(traceback.format_exc())
    return copy if type(copy) is type(error) else RuntimeError(traceback.format_exc())
