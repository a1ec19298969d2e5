"""Sensor data by frame number: a sensor's thread puts it down, the driver waits for its tick's."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Any

KEPT = 8
# A core that has gone to sleep takes some tenths of a millisecond to wake up, as much as a message
# takes on its way. A tick's messages come within milliseconds, so for these a waiting driver dozes.
DOZE, DOZING = 1e-4, 0.02


class FrameBuffer:
    """The last data of one sensor, by the frame that they belong to.

    put: takes in a sensor's data; called from the client's own thread, and no Python of ours runs
    there. Whoever drives has to `take` or `catch_up` now and then, or what comes in piles up.
    """

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put = self._arrived.put
        self._data: dict[int, Any] = {}

    def take(self, frame: int, seconds: float) -> Any | None:
        """The data of a frame, waited for at most so long; None where it did not come."""
        deadline = time.monotonic() + seconds
        while frame not in self._data:
            self._doze(min(DOZING, seconds))
            left = deadline - time.monotonic()
            try:
                self._keep(self._arrived.get(timeout=max(left, 0.0)))
            except queue.Empty:
                return None
        return self._data[frame]

    def _doze(self, seconds: float) -> None:
        """Wait for the next data, but not for long, looking again and again."""
        end = time.monotonic() + seconds
        while self._arrived.empty() and time.monotonic() < end:
            time.sleep(DOZE)

    def before(self, frame: int) -> Any | None:
        """The newest data of an earlier frame, None where there are none."""
        self.catch_up()
        earlier = [number for number in self._data if number < frame]
        return self._data[max(earlier)] if earlier else None

    def catch_up(self) -> None:
        """Keep the newest of what has come in, and let go of the rest."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._keep(self._arrived.get_nowait())

    def _keep(self, data: Any) -> None:
        self._data[data.frame] = data
        for frame in sorted(self._data)[:-KEPT]:
            del self._data[frame]


class CollisionLog:
    """The first thing that the ego car hit after a frame."""

    # Contacts with the ground, which some maps report when a car is put down.
    GROUND = ("static.road", "static.roadline", "static.ground", "static.terrain")
    KINDS = (
        ("vehicle.", "car"),
        ("static.prop.", "box"),
        ("static.sidewalk", "kerb"),
        ("static.pole", "post"),
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._after: int | None = None
        self.hit: str | None = None

    def watch(self, frame: int) -> None:
        """Count from now on what happens after this frame."""
        with self._lock:
            self._after, self.hit = frame, None

    def put(self, event: Any) -> None:
        """Take in a `carla.CollisionEvent`; called from the client's own thread."""
        kind = event.other_actor.type_id
        with self._lock:
            late = self._after is not None and event.frame > self._after
            if late and self.hit is None and kind not in self.GROUND:
                self.hit = collision_kind(kind)


def collision_kind(type_id: str) -> str:
    """What the task calls a collision with an actor of this type."""
    found = (kind for prefix, kind in CollisionLog.KINDS if type_id.startswith(prefix))
    return next(found, "barrier")
