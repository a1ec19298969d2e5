"""A robot that is a process of its own: a simulated one, or a driver in another program.

The process gets the number of an open file descriptor and a JSON text as its last arguments. It
sends a message after every control period, {"values": {key: array}, "taken_at": seconds of
CLOCK_MONOTONIC, "outcome": text}, and receives {"action": array} and {"stop": true}, all in the
format of `wire`. It ends when the other end is closed, so that none outlives its controller. One
that leaves commands unread until the connection is full is given up as lost, and killed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.robot import Observed, RobotLostError
from helmsight.deploy.socket_limits import limit_sending
from helmsight.deploy.wire import WireError, decode, encode
from helmsight.envs.spec import EmbodimentSpec, SafetySpec

logger = logging.getLogger(__name__)

SECONDS_TO_START, SECONDS_TO_STOP = 120.0, 5.0
# After its first observation a control loop starts in this part of the robot's period: the next
# observations are there before they are looked for, and actions come before they are carried out.
PHASE = 0.25


class ProcessRobot:
    """Starts the process at `connect` and reads what it sends in a thread.

    command: the program and its first arguments. options: what it is told as JSON.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: dict[str, Any],
        embodiment: EmbodimentSpec,
        safety: SafetySpec,
    ) -> None:
        self.embodiment, self.safety = embodiment, safety
        self._command, self._options = list(command), options
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._newest: Observed | None = None
        self._arrived = threading.Event()
        self._lost = ""

    def connect(self) -> None:
        """Start the process and wait for its first observation. Raises RobotLostError."""
        ours, theirs = socket.socketpair()
        with theirs:
            words = [str(theirs.fileno()), json.dumps(self._options)]
            # In a session of its own: Ctrl-C is for the controller, which then stops the robot.
            self._process = subprocess.Popen(
                [*self._command, *words],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        # A driver that reads nothing any more must not hold the control loop for a tick.
        limit_sending(ours, 1.0 / self.embodiment.rate_hz)
        self._socket, self._connection = ours, Connection(os.dup(ours.fileno()))
        self._reader = threading.Thread(target=self._read, args=(self._connection,), daemon=True)
        self._reader.start()
        if not self._arrived.wait(SECONDS_TO_START) or self._lost:
            self.stop()
            raise RobotLostError(self._lost or f"no observation within {SECONDS_TO_START:g} s")
        self._arrived.clear()
        self._arrived.wait(PHASE / self.embodiment.rate_hz)

    def observe(self) -> Observed:
        if self._newest is None or (self._lost and not self._newest.outcome):
            raise RobotLostError(self._lost or "not connected")
        return self._newest

    def act(self, action: NDArray[np.float32]) -> None:
        self._send({"action": np.asarray(action, np.float32)})

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._connection is None or self._socket is None:
            return
        try:
            self._send({"stop": True})
        except RobotLostError as error:
            logger.debug("nothing to stop: %s", error)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            logger.warning("the robot's process did not end, so it is killed")
            process.kill()
            process.wait()
        self._reader.join(SECONDS_TO_STOP)
        self._connection.close()
        self._socket.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._connection is None or self._socket is None:
            raise RobotLostError("not connected")
        try:
            self._connection.send_bytes(encode(message))
        except BlockingIOError:
            self._lost = "the robot's process takes no more commands"
            # Part of the message may be sent, so that no other can follow it.
            self._socket.shutdown(socket.SHUT_RDWR)
            raise RobotLostError(self._lost) from None
        except OSError as error:
            raise RobotLostError(f"the robot's process is gone: {error}") from None

    def _read(self, connection: Connection) -> None:
        """Keep the newest observation, until the process ends."""
        try:
            while True:
                message = decode(connection.recv_bytes())
                self._newest = Observed(
                    message["values"], float(message["taken_at"]), str(message["outcome"])
                )
                self._arrived.set()
        except (EOFError, OSError):
            self._lost = self._lost or "the robot's process has ended"
        except (WireError, KeyError, TypeError, ValueError) as error:
            self._lost = f"the robot's process sends what is no observation: {error!r}"
        self._arrived.set()
