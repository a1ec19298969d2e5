"""A selector that looks again for a moment before it sleeps.

A tick is a handful of messages to and fro between two processes, each some tenths of a
millisecond after the one before; waking a sleeping process takes as long. So after every message
the next one is looked for without sleeping, for longer than the gaps within a tick last.
"""

from __future__ import annotations

import selectors
import time

AWAKE_SECONDS = 0.001


class EagerSelector(selectors.DefaultSelector):
    """The system's selector; a wait begins with `AWAKE_SECONDS` of looking."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As `selectors.BaseSelector.select`; the wait is at most `AWAKE_SECONDS` longer."""
        if timeout is None or timeout > 0.0:
            sleeping = time.perf_counter() + AWAKE_SECONDS
            while time.perf_counter() < sleeping:
                if ready := super().select(0):
                    return ready
        return super().select(timeout)
