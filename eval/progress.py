"""Progress on the terminal: how far, how well so far, how long still."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressReporter:
    """A progress bar on standard error that also counts successes and errors."""

    def __init__(
        self, title: str, total: int, completed: int = 0, success: str = "succeeded"
    ) -> None:
        self._success = success
        self._successes = self._failures = self._errors = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[tally]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(title, total=total, completed=completed, tally="")

    def __enter__(self) -> ProgressReporter:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, success: bool | None = None) -> None:
        """One more is done; `success` is None for an episode that ended in an error."""
        if success is None:
            self._errors += 1
        elif success:
            self._successes += 1
        else:
            self._failures += 1
        ran = self._successes + self._failures
        tally = f"{self._successes}/{ran} {self._success}" if ran else ""
        if self._errors:
            tally += f", {self._errors} errors"
        self._progress.update(self._task, advance=1, tally=tally)
