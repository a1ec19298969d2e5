"""One model for several robots: a bounded queue, and decisions made together."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.metrics import ServerMetrics
from helmsight.deploy.model import Model, ModelError, checked_actions

logger = logging.getLogger(__name__)

LOGGED_REASONS = 100


class QueueFullError(RuntimeError):
    """More requests wait than the queue holds."""


@dataclass(frozen=True)
class Decision:
    """A chunk of actions [K, A] and the milliseconds that the policy took for its batch."""

    actions: NDArray[np.float32]
    infer_ms: float


@dataclass
class _Request:
    observation: dict[str, Any]
    decision: asyncio.Future[Decision]
    arrived: float = field(default_factory=time.perf_counter)


class Batcher:
    """Hands requests to a model in a thread of its own.

    A batch is whatever waits when the model gets free, `max_batch` at most: a lone robot never
    waits for company, and robots that ask while the model is busy are decided together.
    """

    def __init__(self, model: Model, max_batch: int, queue_length: int) -> None:
        self._model, self._max_batch = model, max_batch
        self._queue: asyncio.Queue[_Request] = asyncio.Queue(queue_length)
        self._logged: set[str] = set()
        # One thread: a model is called from nowhere else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._queue.qsize()

    async def decide(self, observation: dict[str, Any]) -> Decision:
        """The decision on a checked observation.

        Raises QueueFullError at once when the queue is full, ModelError when the model fails. A
        caller that is cancelled takes its request out of the queue.
        """
        request = _Request(observation, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(request)
        except asyncio.QueueFull:
            raise QueueFullError(f"{self._queue.maxsize} requests are waiting already") from None
        return await request.decision

    async def run(self, metrics: ServerMetrics) -> None:
        """Serve the queue until cancelled."""
        try:
            while True:
                await self._decide_together(await self._next_batch(), metrics)
        finally:
            self._thread.shutdown(wait=False)

    async def _next_batch(self) -> list[_Request]:
        batch = [await self._queue.get()]
        while len(batch) < self._max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return [request for request in batch if not request.decision.done()]

    async def _decide_together(self, batch: list[_Request], metrics: ServerMetrics) -> None:
        if not batch:
            return
        started = time.perf_counter()
        for request in batch:
            metrics.queue_seconds.observe(started - request.arrived)
        loop = asyncio.get_running_loop()
        try:
            actions = await loop.run_in_executor(self._thread, self._actions, batch)
        except Exception as error:
            if len(batch) > 1:  # one bad request must not fail those of other robots
                for request in batch:
                    await self._decide_together([request], metrics)
                return
            self._log(error)
            reason = str(error) if isinstance(error, ModelError) else type(error).__name__
            _fail(batch[0], ModelError(reason))
            return
        elapsed = time.perf_counter() - started
        metrics.inference_seconds.observe(elapsed)
        metrics.batch_size.observe(len(batch))
        for request, chunk in zip(batch, actions, strict=True):
            if not request.decision.done():
                request.decision.set_result(Decision(chunk, 1000.0 * elapsed))

    def _log(self, error: Exception) -> None:
        """Once a reason: robots that go on asking in vain fill no disk."""
        reason = f"{type(error).__name__}: {error}"
        if reason in self._logged or len(self._logged) >= LOGGED_REASONS:
            return
        self._logged.add(reason)
        # A ModelError says what was wrong; anything else is a defect, to be found by its place.
        expected = isinstance(error, ModelError)
        logger.error("the policy failed: %s", reason, exc_info=None if expected else error)

    def _actions(self, batch: list[_Request]) -> NDArray[np.float32]:
        actions = self._model.decide([request.observation for request in batch])
        return checked_actions(actions, len(batch), self._model.embodiment)


def _fail(request: _Request, error: Exception) -> None:
    if not request.decision.done():
        request.decision.set_exception(error)
