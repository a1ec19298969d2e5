"""A robot that notes what it is told, a server that misbehaves on demand, and a drive with both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from serving import CHUNK, EMBODIMENT, FakeModel, observation
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from helmsight.deploy.client import PolicyClient
from helmsight.deploy.controller import Controller, ControllerSettings, DriveRecord
from helmsight.deploy.decider import Decider
from helmsight.deploy.robot import Observed
from helmsight.deploy.wire import encode
from helmsight.envs.parking.vehicle import PARKING_SAFETY

SAFE = -1.0
PERIOD = 1.0 / EMBODIMENT.rate_hz


class NotedRobot:
    """Observes noise, fresh at every tick unless frozen, and notes the actions that it gets.

    actions: what each tick ended with. acted_at, safe_at: when any action came, and any safe one.
    """

    embodiment = EMBODIMENT
    safety = PARKING_SAFETY

    def __init__(self, ticks: int) -> None:
        self.ticks = ticks
        self.actions: list[NDArray[np.float32]] = []
        self.acted_at: list[float] = []
        self.safe_at: list[float] = []
        self.frozen = False  # the same values, with a new time
        self.silent = False  # no new observation at all
        self.stopped = 0
        self._tick = 0
        self._observed = Observed(observation(0), 0.0)
        self.at_tick: Callable[[int], None] = lambda tick: None

    def connect(self) -> None:
        pass

    def observe(self) -> Observed:
        tick, self._tick = self._tick, self._tick + 1
        self.at_tick(tick)
        if tick >= self.ticks:
            return Observed({}, time.monotonic(), "done")
        if not self.silent:
            values = self._observed.values if self.frozen else observation(tick + 1)
            self._observed = Observed(values, time.monotonic())
        return self._observed

    def act(self, action: NDArray[np.float32]) -> None:
        del self.actions[self._tick - 1 :]  # a second action in a tick takes the place of its first
        self.actions.append(action)
        self.acted_at.append(time.monotonic())
        if action[0] == SAFE:
            self.safe_at.append(self.acted_at[-1])

    def stop(self) -> None:
        self.stopped += 1

    @property
    def safe(self) -> list[bool]:
        """Whether the action of each tick was the safe one."""
        return [bool(action[0] == SAFE) for action in self.actions]


Reply = Callable[[ServerConnection], None]


def chunk_reply(actions: Any) -> bytes:
    """A reply with these actions [K, A]."""
    return encode({"actions": np.asarray(actions), "server_timing": {"infer_ms": 1.0}})


def good(connection: ServerConnection) -> None:
    """What a server in order does."""
    connection.send(chunk_reply(np.full((CHUNK, 3), 0.25, np.float32)))


class MoodyServer:
    """Answers requests by `mood`; can be killed, and be there again on the same port."""

    def __init__(self) -> None:
        self.mood: Reply = good
        self.announcement: dict[str, Any] = {
            "policy": "moody",
            "observation_keys": list(FakeModel.observation_keys),
            "steps_per_decision": 1,
            "embodiment": EMBODIMENT.to_dict(),
        }
        self.port = 0
        self._connections: list[ServerConnection] = []
        self._ending: threading.Thread | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        if self._ending is not None:
            self._ending.join()  # of its predecessor, which had the port
        self._server: Server = serve(self._serve, "127.0.0.1", self.port, compression=None)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def kill(self) -> None:
        """As by SIGKILL: no closing handshake, and nobody listens any more. Takes no time."""
        self.cut()
        self._ending = threading.Thread(target=self._server.shutdown, daemon=True)
        self._ending.start()

    def cut(self) -> None:
        """Cut the connections without a word."""
        for connection in self._connections:
            connection.close_socket()
        self._connections.clear()

    def _serve(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        try:
            connection.send(encode(self.announcement))
            for _ in connection:
                self.mood(connection)
        except (ConnectionClosed, OSError):
            return


def drive(robot: NotedRobot, address: str, **settings: Any) -> DriveRecord:
    """Drive the robot with the server until it is done."""
    client = PolicyClient(address)
    announced = client.connect()
    decider = Decider(client, EMBODIMENT, announced)
    controller = Controller(robot, decider, ControllerSettings(**settings), robot.safety)
    try:
        return controller.run()
    finally:
        decider.close()
        client.close()
