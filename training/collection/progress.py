"""The progress bar of a collection."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class CollectionDisplay:
    """Shows episodes, failures, episodes an hour and the time left, on standard error."""

    def __init__(self, wanted: int, present: int, enabled: bool) -> None:
        self._wanted, self._present, self._failures = wanted, present, 0
        self._start = time.monotonic()
        self._console = Console(stderr=True, quiet=not enabled)
        self._progress = Progress(
            TextColumn("episodes"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]} failed  {task.fields[speed]}"),
            console=self._console,
            disable=not enabled,
        )
        self._task = self._progress.add_task(
            "collect", total=wanted, completed=min(present, wanted), failures=0, speed=""
        )

    def update(self, episodes: int, failure: str | None) -> None:
        """An attempt ended: the data set holds `episodes`; `failure` is None for a success."""
        self._failures += failure is not None
        elapsed = time.monotonic() - self._start
        new = episodes - self._present
        speed = ""
        if new > 0:
            left = int((self._wanted - episodes) * elapsed / new)
            clock = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
            speed = f"{3600.0 * new / elapsed:.0f} episodes/h  {clock} left"
        self._progress.update(self._task, completed=episodes, failures=self._failures, speed=speed)

    def say(self, text: str) -> None:
        """Print a line, above the bar where it is shown."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def __enter__(self) -> CollectionDisplay:
        self._start = time.monotonic()
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
