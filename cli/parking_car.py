"""The MuJoCo parking car as a robot: a process that drives in real time, by its own clock.

Started by `helmsight drive` as `python -m helmsight.cli.parking_car FD OPTIONS`; speaks as
`helmsight.deploy.process_robot` says. It stands here because it joins the simulator of `envs` with
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
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.vehicle import CONTROL_PERIOD, PARKING_SAFETY

MAX_COMMAND_BYTES = 10_000
SECONDS_TO_BRAKE = 3.0


class ParkingCar:
    """An environment that advances once a control period, whether there is a new command or not."""

    def __init__(self, options: dict[str, Any], episode: int, sees: bool) -> None:
        self._environment = ParkingEnvironment(**options)
        self._environment.restart(seed=0, options={"episode": episode})
        self._sees = sees
        self._brake = np.array([value or 0.0 for value in PARKING_SAFETY.safe_action], np.float32)
        self._action = self._brake
        self._outcome = ""
        self._message(0.0)  # the first picture takes long, and must not be waited for on the way

    def drive(self, connection: Connection) -> None:
        """Drive until told to stop, or the other end is gone; brakes before it ends."""
        due = time.monotonic()
        try:
            while self._listen(connection, due):
                taken_at = time.monotonic()
                self._advance(self._action)
                connection.send_bytes(encode(self._message(taken_at)))
                # Behind by more than a period, time stretches: a simulated car cannot catch up.
                due = max(due + CONTROL_PERIOD, time.monotonic())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the controller is gone, and with it the reason to drive
        for _ in range(round(SECONDS_TO_BRAKE / CONTROL_PERIOD)):
            self._advance(self._brake)
        self._environment.close()

    def _advance(self, action: Any) -> None:
        if self._outcome:
            return
        _, terminated, truncated, info = self._environment.advance(action)
        if terminated or truncated:
            self._outcome = str(info["episode_metrics"]["outcome"])

    def _message(self, taken_at: float) -> dict[str, Any]:
        environment = self._environment
        seen = environment.observe() if self._sees else environment.observe_state()
        return {"values": seen, "taken_at": taken_at, "outcome": self._outcome}

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


def main() -> None:
    """FD OPTIONS, the last two words; OPTIONS: {"episode", "sees", "environment": {...}}."""
    options = json.loads(sys.argv[-1])
    connection = Connection(int(sys.argv[-2]))
    ParkingCar(options["environment"], options["episode"], options["sees"]).drive(connection)


if __name__ == "__main__":
    main()
