"""Drives parking episodes with openpi's own client, as it is, against `helmsight serve`.

openpi-client 0.1.2 wants numpy < 2, so it has a virtual environment of its own:

    python -m venv openpi && openpi/bin/pip install openpi-client==0.1.2 typing_extensions
    helmsight serve checkpoint=RUN &
    openpi/bin/python tests/deploy/openpi_drive.py .venv/bin/python 0 1 2

The first word is the Python that has helmsight, in which the parking car runs as a process; the
others are episodes of the standard test split.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection

from openpi_client.msgpack_numpy import packb, unpackb
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def drive(policy: WebsocketClientPolicy, python: str, episode: int) -> str:
    """The outcome of one episode, driven in real time."""
    announced = policy.get_server_metadata()
    keys, cameras = announced["observation_keys"], announced["embodiment"]["cameras"]
    options = {
        "episode": episode,
        "sees": len(keys) > 1,
        "environment": {
            "split": "test",
            "cameras": {0: "none", 4: "surround4", 6: "surround6"}[len(cameras)],
            "image_size": cameras[0]["width"] if cameras else 128,
        },
    }
    ours, theirs = socket.socketpair()
    command = [python, "-m", "helmsight.cli.parking_car", str(theirs.fileno()), json.dumps(options)]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    car = Connection(ours.detach())
    outcome = ""
    while not outcome:
        seen = unpackb(car.recv_bytes())
        while car.poll():  # only the newest counts
            seen = unpackb(car.recv_bytes())
        outcome = seen["outcome"]
        reply = policy.infer({key: seen["values"][key] for key in keys})
        car.send_bytes(packb({"action": reply["actions"][0]}))
    car.send_bytes(packb({"stop": True}))
    process.wait()
    return outcome


def main() -> None:
    """PYTHON EPISODE..., the words."""
    port = int(os.environ.get("PORT", "8000"))
    policy = WebsocketClientPolicy("127.0.0.1", port, api_key=os.environ.get("HELMSIGHT_API_KEY"))
    python, *episodes = sys.argv[1:]
    for episode in map(int, episodes):
        began = time.monotonic()
        outcome = drive(policy, python, episode)
        print(f"episode {episode}: {outcome} after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
