"""The server as a process of its own.

In a thread of the client's process it could not answer: CARLA's client holds the interpreter's lock
while it waits.
"""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

_PROGRAM = """
import sys
from helmsight.envs.parking.carla_server.server import serve
serve(int(sys.argv[1]), lambda port: print(port, flush=True))
"""
ENDING_SECONDS = 10.0


class ServerProcess:
    """A protocol server on loopback, from `with` to its end. `port` is where it answers.

    Raises RuntimeError where it does not start; its own words are on standard error.
    """

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer:
            self._process.wait()
            raise RuntimeError("the protocol server did not start")
        self.port = int(answer)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it; twice is harmless."""
        self._process.terminate()
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
