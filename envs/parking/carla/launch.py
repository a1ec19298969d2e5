"""Starting a CARLA server that is installed here, or in Docker, and waiting until it answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from helmsight.envs.parking.carla.connection import VERSION, connect

IMAGE = f"carlasim/carla:{VERSION}"
SCRIPT = "CarlaUE4.sh"
ASKING_SECONDS = 2.0
ENDING_SECONDS = 20.0


def server_command(root: str | None, port: int) -> list[str]:
    """What starts a server without a window: `root`'s own script, else Docker's image.

    root: the folder that CARLA was unpacked into. Raises FileNotFoundError, saying what to install,
    where there is neither.
    """
    options = ["-RenderOffScreen", "-nosound", f"-carla-rpc-port={port}"]
    if root:
        script = Path(root) / SCRIPT
        if not script.is_file():
            raise FileNotFoundError(f"CARLA_ROOT={root} holds no {SCRIPT}")
        return [str(script), *options]
    if shutil.which("docker") is None:
        raise FileNotFoundError(
            f"no CARLA to start: set CARLA_ROOT to CARLA {VERSION}'s folder, or install Docker "
            f"(docker pull {IMAGE}). helmsight carla serve needs neither"
        )
    run = ["docker", "run", "--rm", "--gpus", "all", "--net", "host", IMAGE]
    return [*run, f"./{SCRIPT}", *options]


class LaunchedServer:
    """A server's process group, from its start to `close`.

    Raises RuntimeError where the process ends before it answers or does not answer within
    `seconds`; nothing of it is left running then.
    """

    def __init__(self, command: list[str], port: int, seconds: float) -> None:
        self._process = subprocess.Popen(command, start_new_session=True)
        try:
            self._wait(port, seconds)
        except BaseException:
            self.close()
            raise

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait()

    def close(self) -> None:
        """End it and its children; twice is harmless."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            # The script's children outlive it where only the script is told.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_SECONDS)
                return

    def _wait(self, port: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                code = self._process.returncode
                raise RuntimeError(f"the CARLA server ended with code {code} before it answered")
            with contextlib.suppress(ConnectionError):
                connect("127.0.0.1", port, ASKING_SECONDS)
                return
            time.sleep(0.1)
        raise RuntimeError(f"the CARLA server did not answer within {seconds:g} s")
