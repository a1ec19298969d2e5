"""A selector that looks again for a moment before it sleeps.

A tick is a handful of messages to and fro between two processes, each some tenths of a
millisecond after the one before; waking a sleeping process takes as long. So after every message
the next one is looked for without sleeping, for longer than the gaps within a tick last. After a
tick's last message it is the client that needs the processor: `rest`.
"""

from __future__ import annotations

import selectors
import time

AWAKE_SECONDS = 0.001


class EagerSelector(selectors.DefaultSelector):
    """The system's selector; a wait begins with `AWAKE_SECONDS` of looking."""

    _resting = False

    def rest(self) -> None:
        """Begin the next wait asleep: no message is expected soon."""
        self._resting = True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As `selectors.BaseSelector.select`; the wait is at most `AWAKE_SECONDS` longer."""
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0.0):
            ready = self._wait(timeout)
        if ready:
            self._resting = False
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        sleeping = time.perf_counter() + (0.0 if self._resting else AWAKE_SECONDS)
        while time.perf_counter() < sleeping:
            if ready := super().select(0):
                return ready
        return super().select(timeout)
