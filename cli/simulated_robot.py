"""A simulated robot: a process of its own that acts in real time, by its own clock.

Started by `helmsight drive` as `python -m helmsight.cli.simulated_robot FD OPTIONS`; speaks as
`helmsight.deploy.process_robot` says. It stands here because it joins the simulators of `envs` with
the message format of `deploy`, which imports no simulator.
"""

from __future__ import annotations

import json
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from helmsight.deploy.wire import decode, encode
from helmsight.envs.deferred_images import DeferredImageEnvironment
from helmsight.envs.spec import SafetySpec

MAX_COMMAND_BYTES = 10_000
# For so long the safe action is carried out at the end, so that a car comes to a stand.
SECONDS_TO_STAND = 3.0


class SimulatedRobot:
    """An environment that advances once a control period, whether there is a new command or not.

    task_key: where observations say what the robot is told to do; None for robots without orders.
    """

    def __init__(
        self,
        environment: DeferredImageEnvironment,
        safety: SafetySpec,
        episode: int,
        sees: bool,
        task_key: str | None = None,
    ) -> None:
        self._environment = environment
        self._period = 1.0 / environment.embodiment.rate_hz
        info = environment.restart(seed=0, options={"episode": episode})
        self._order = {} if task_key is None else {task_key: info["task"]}
        self._sees, self._safe_action = sees, safety.safe_action
        self._action = np.zeros(len(safety.safe_action), np.float32)
        self._action = self._safe()
        self._outcome = ""
        self._message(0.0)  # the first picture takes long, and must not be waited for on the way

    def drive(self, connection: Connection) -> None:
        """Act until told to stop, or the other end is gone; comes to a stand before it ends."""
        due = time.monotonic()
        try:
            while self._listen(connection, due):
                taken_at = time.monotonic()
                self._advance(self._action)
                connection.send_bytes(encode(self._message(taken_at)))
                # Behind by more than a period, time stretches: a simulation cannot catch up.
                due = max(due + self._period, time.monotonic())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the controller is gone, and with it the reason to act
        safe = self._safe()
        for _ in range(round(SECONDS_TO_STAND / self._period)):
            self._advance(safe)
        self._environment.close()

    def _safe(self) -> Any:
        """The safe action now; an entry without one of its own keeps its last value."""
        pairs = zip(self._safe_action, self._action, strict=True)
        return np.array([kept if safe is None else safe for safe, kept in pairs], np.float32)

    def _advance(self, action: Any) -> None:
        if self._outcome:
            return
        _, terminated, truncated, info = self._environment.advance(action)
        if terminated or truncated:
            self._outcome = str(info["episode_metrics"]["outcome"])

    def _message(self, taken_at: float) -> dict[str, Any]:
        environment = self._environment
        seen = environment.observe() if self._sees else environment.observe_state()
        values = {**seen, **self._order}
        return {"values": values, "taken_at": taken_at, "outcome": self._outcome}

    def _listen(self, connection: Connection, due: float) -> bool:
        """Take in commands until the next period begins; False when told to stop."""
        while True:
            remaining = due - time.monotonic()
            if not connection.poll(max(remaining, 0.0)):
                return True
            message = decode(connection.recv_bytes(MAX_COMMAND_BYTES))
            if "stop" in message:
                return False
            self._action = message["action"]


def parking_car(options: dict[str, Any], episode: int, sees: bool) -> SimulatedRobot:
    """The parking car; `options` are those of `ParkingEnvironment`."""
    from helmsight.envs.parking.env import ParkingEnvironment
    from helmsight.envs.parking.vehicle import PARKING_SAFETY

    return SimulatedRobot(ParkingEnvironment(**options), PARKING_SAFETY, episode, sees)


def libero_arm(options: dict[str, Any], episode: int, sees: bool) -> SimulatedRobot:
    """LIBERO's arm; `options` are those of `LiberoEnvironment`."""
    from helmsight.envs.libero.embodiment import LIBERO_SAFETY
    from helmsight.envs.libero.env import LiberoEnvironment

    return SimulatedRobot(LiberoEnvironment(**options), LIBERO_SAFETY, episode, sees, "task")


ROBOTS = {"parking": parking_car, "libero": libero_arm}


def main() -> None:
    """FD OPTIONS, the last two words; OPTIONS: {"robot", "episode", "sees", "environment"}."""
    options = json.loads(sys.argv[-1])
    connection = Connection(int(sys.argv[-2]))
    make = ROBOTS[options["robot"]]
    make(options["environment"], options["episode"], options["sees"]).drive(connection)


if __name__ == "__main__":
    main()
