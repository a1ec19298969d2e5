"""Ctrl-C as a request that is answered between two steps, not in the middle of one."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Interruption:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second acts as ever.

    Outside of the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._former: dict[int, Any] = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def __enter__(self) -> Interruption:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._request)
        except ValueError:  # not the main thread: whoever owns it handles signals
            self._former.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()
