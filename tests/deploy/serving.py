"""A model that does as it is told, a server in a thread, and observations for it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

from helmsight.deploy.server import PolicyServer, ServerSettings
from helmsight.deploy.wire import decode, encode
from helmsight.envs.parking.vehicle import parking_embodiment

EMBODIMENT = parking_embodiment("surround4", 16)
CHUNK = 4


def observation(seed: int = 0) -> dict[str, NDArray[Any]]:
    """An observation that the embodiment could have made."""
    random = np.random.default_rng(seed)
    images = {
        key: random.integers(0, 256, (16, 16, 3), dtype=np.uint8) for key in EMBODIMENT.image_keys
    }
    state = random.uniform(-0.5, 0.5, EMBODIMENT.state.size).astype(np.float32)
    return {**images, "observation.state": state}


class FakeModel:
    """Answers with the speed that it was shown, as acceleration of every action of the chunk."""

    embodiment = EMBODIMENT
    observation_keys = (*EMBODIMENT.image_keys, "observation.state")
    steps_per_decision = 1
    name = "fake"

    def __init__(self, before: Callable[[int], Any] = lambda count: None) -> None:
        self.before = before
        self.batches: list[int] = []

    def warm_up(self) -> None:
        pass

    def decide(self, observations: Sequence[dict[str, NDArray[Any]]]) -> NDArray[np.float32]:
        self.batches.append(len(observations))
        told = self.before(len(self.batches))
        if told is not None:
            return told
        speeds = np.array([seen["observation.state"][0] for seen in observations])
        actions = np.zeros((len(observations), CHUNK, EMBODIMENT.action.size), np.float32)
        actions[:, :, 0] = speeds[:, None]  # [B] -> [B, K]
        return actions


class ServerThread:
    """A server with a loop and a thread of its own, as a context manager."""

    def __init__(self, model: Any = None, **settings: Any) -> None:
        self.model = model or FakeModel()
        # Time limits that no test reaches on a busy machine, unless it is about them.
        patient = {"request_seconds": 60.0, "receive_seconds": 60.0, "open_seconds": 60.0}
        self.settings = ServerSettings(**{"port": 0, **patient, **settings})
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = PolicyServer(self.model, self.settings)
        await self.server.start()
        self.address = self.server.address
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()

    def __enter__(self) -> ServerThread:
        self._thread.start()
        assert self._ready.wait(60.0)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop as on SIGTERM and wait for the end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60.0)
        assert not self._thread.is_alive()

    def connect(self, **options: Any) -> ClientConnection:
        """A connection whose announcement has been read."""
        connection = connect(self.address, compression=None, **options)
        self.announcement = decode(bytes(connection.recv(timeout=60.0)))
        return connection

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of an HTTP request."""
        url = self.address.replace("ws://", "http://") + path
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def ask(connection: ClientConnection, message: dict[str, Any] | bytes) -> dict[str, Any] | str:
    """One request's reply: a map, or the text of an error."""
    connection.send(message if isinstance(message, bytes) else encode(message))
    reply = connection.recv(timeout=60.0)
    return reply if isinstance(reply, str) else decode(reply)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once the condition holds; fail after a time that no machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)
