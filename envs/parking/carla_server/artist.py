"""Drawing a tick's pictures beside everything else that the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from helmsight.envs.parking.carla_server.episode import Pictures, Publish


class Artist:
    """Draws pictures in a thread of its own, to which OpenGL's context belongs.

    As with CARLA, a tick is answered before its pictures are made; what does not touch them goes on
    meanwhile.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._thread = ThreadPoolExecutor(1, "pictures")
        self._drawing: asyncio.Task[None] | None = None

    def begin(self, pictures: Pictures) -> None:
        """Draw, and publish what was drawn."""
        self._drawing = asyncio.ensure_future(self._draw(pictures))

    async def finished(self) -> None:
        """Wait for the pictures that are being drawn; raises, once, what went wrong with them."""
        drawing = self._drawing
        if drawing is None:
            return
        await asyncio.wait([drawing])
        if drawing is self._drawing:
            self._drawing = None
            drawing.result()

    def close(self, free: Callable[[], None]) -> None:
        """Free what was drawn with, in the thread that drew."""
        self._thread.submit(free).result()
        self._thread.shutdown()

    async def _draw(self, pictures: Pictures) -> None:
        loop = asyncio.get_running_loop()
        for stream, payload in await loop.run_in_executor(self._thread, pictures):
            self._publish(stream, payload)
