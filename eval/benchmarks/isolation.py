"""Each measurement in a fresh process: what ran before leaves no threads, caches or settings."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from helmsight.eval.benchmarks.measurement import Report


def run_isolated(
    function: Callable[..., Any], *arguments: Any, report: Report, one_core: bool = False
) -> Any:
    """`function(*arguments, report)` in a process of its own, which may be held to one core.

    Function, arguments and result must be picklable. An exception there is raised here;
    RuntimeError where the process died.
    """
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function, arguments), daemon=False)
    # A process inherits the cores it may use, and with them its libraries choose their threads.
    with held_to(frozenset(sorted(usable_cores())[-1:] if one_core else ())):
        process.start()
    theirs.close()
    try:
        return _receive(mine, report)
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the measuring process died with exit code {process.exitcode}"
        ) from None
    finally:
        if process.is_alive():
            process.join(timeout=5.0)
        if process.is_alive():
            process.terminate()
        mine.close()


def _receive(connection: Connection, report: Report) -> Any:
    while True:
        kind, content = connection.recv()
        if kind == "result":
            return content
        if kind == "error":
            raise content
        report(*content)


def _serve(
    connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    # Ctrl-C is the parent's: it ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report(done: int, total: int) -> None:
        connection.send(("report", (done, total)))

    try:
        result = function(*arguments, report)
    except Exception as error:
        connection.send(("error", _picklable(error)))
    else:
        connection.send(("result", result))


def _picklable(error: Exception) -> Exception:
    """The error where it survives the way, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def usable_cores() -> frozenset[int]:
    """Numbers of the cores that this thread may run on; none where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset()
    return frozenset(os.sched_getaffinity(0))


@contextmanager
def held_to(cores: frozenset[int]) -> Iterator[None]:
    """Only these cores for this thread and what it starts; all as before for none."""
    if not cores:
        yield
        return
    before = usable_cores()
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
