"""Decisions beside the control loop: a thread that asks the server, and may wait for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass

from helmsight.deploy.chunks import Chunk
from helmsight.deploy.client import (
    Announcement,
    BadReplyError,
    PolicyClient,
    ServerLostError,
)
from helmsight.deploy.robot import Observed
from helmsight.envs.spec import EmbodimentSpec

logger = logging.getLogger(__name__)

SERVER_LOST, BAD_REPLY, RECONNECTED = "server_lost", "bad_reply", "reconnected"
TROUBLES = (SERVER_LOST, BAD_REPLY, RECONNECTED)
SECONDS_BETWEEN_ATTEMPTS = 0.2


@dataclass(frozen=True)
class Trouble:
    """Something else than a chunk happened: `SERVER_LOST`, `BAD_REPLY` or `RECONNECTED`."""

    kind: str
    text: str = ""


class Decider:
    """Asks a server for one chunk at a time; nothing that the control loop calls here blocks.

    A lost connection is made again for as long as it takes. The observation that waited meanwhile
    is thrown away: by then there is a newer one.
    """

    def __init__(
        self, client: PolicyClient, embodiment: EmbodimentSpec, announced: Announcement
    ) -> None:
        """announced: the policy that the drive was prepared for; no unlike one takes its place."""
        self._client, self._embodiment, self._announced = client, embodiment, announced
        self._period = 1.0 / embodiment.rate_hz
        self._requests: queue.Queue[Observed | None] = queue.Queue(1)
        self._happened: queue.SimpleQueue[Chunk | Trouble] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decider", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether a request would be taken up now."""
        return self._idle.is_set()

    def submit(self, observed: Observed) -> None:
        """Ask for a decision; only while idle."""
        self._idle.clear()
        self._requests.put_nowait(observed)

    def happened(self, wait_until: float | None = None) -> list[Chunk | Trouble]:
        """What has happened since the last call, waiting for something until a time at most."""
        found: list[Chunk | Trouble] = []
        if wait_until is not None:
            try:
                found.append(self._happened.get(timeout=max(wait_until - time.monotonic(), 0.0)))
            except queue.Empty:
                return found
        while True:
            try:
                found.append(self._happened.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        """End the thread, with the reply that it waits for; the client stays connected."""
        self._stopping.set()
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            observed = self._requests.get()
            if observed is None:
                return
            try:
                happened = self._decide(observed) if self._client.connected else self._reconnect()
            except Exception as error:
                # A thread that ended here would leave the robot with its safe action for good.
                logger.exception("the decision failed")
                happened = Trouble(BAD_REPLY, f"{type(error).__name__}: {error}")
            # Idle first: whoever hears of it may submit again.
            self._idle.set()
            self._happened.put(happened)

    def _decide(self, observed: Observed) -> Chunk | Trouble:
        keys = self._announced.observation_keys
        values = {key: observed.values[key] for key in keys if key in observed.values}
        try:
            actions = self._client.ask(values, self._embodiment.action.size)
        except ServerLostError as error:
            return Trouble(SERVER_LOST, str(error))
        except BadReplyError as error:
            return Trouble(BAD_REPLY, str(error))
        return Chunk(actions, observed.taken_at, time.monotonic(), self._period)

    def _reconnect(self) -> Trouble:
        """Try until there is a server of a policy that can take the former one's place."""
        told = ""
        while not self._stopping.is_set():
            try:
                announced = self._client.connect()
            except (ServerLostError, BadReplyError, PermissionError) as error:
                logger.debug("no connection: %s", error)
            else:
                unlike = self._unlike(announced)
                if not unlike:
                    self._take_over(announced)
                    return Trouble(RECONNECTED)
                if unlike != told:  # not at every attempt
                    logger.error("%s; waiting for the right one", unlike)
                    told = unlike
                self._client.close()
            self._stopping.wait(SECONDS_BETWEEN_ATTEMPTS)
        return Trouble(SERVER_LOST, "stopped")

    def _unlike(self, announced: Announcement) -> str:
        """Why what is served now cannot go on with this drive; empty when it can."""
        before = self._announced
        if announced.embodiment.differences(self._embodiment):
            return "another embodiment is served now"
        if set(announced.observation_keys) != set(before.observation_keys):
            return (
                f"{announced.policy} is served now, which reads "
                f"{', '.join(announced.observation_keys)} and not what {before.policy} read"
            )
        if announced.steps_per_decision != before.steps_per_decision:
            return (
                f"{announced.policy} is served now, which decides every "
                f"{announced.steps_per_decision} periods; {before.policy} did every "
                f"{before.steps_per_decision}"
            )
        return ""

    def _take_over(self, announced: Announcement) -> None:
        if announced.policy != self._announced.policy:
            logger.warning("%s is served now, before %s", announced.policy, self._announced.policy)
        self._announced = announced
