"""Drives a simulated robot with openpi's own client, as it is, against `helmsight serve`.

openpi-client 0.1.2 wants numpy < 2, so it has a virtual environment of its own:

    python -m venv openpi && openpi/bin/pip install openpi-client==0.1.2 typing_extensions
    helmsight serve checkpoint=RUN &
    openpi/bin/python tests/deploy/openpi_drive.py .venv/bin/python 0 1 2

The first word is the Python that has helmsight, in which the robot that the served policy is for
runs as a process: the parking car or LIBERO's arm. The others are episodes, of the car's standard
test split or of the arm's suite in the official protocol.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.msgpack_numpy import packb, unpackb
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def robot_options(embodiment: dict[str, Any]) -> dict[str, Any]:
    """Which simulated robot the policy is for, and in what world."""
    cameras = embodiment["cameras"]
    size = {"image_size": cameras[0]["width"]} if cameras else {}
    maker, _, suite = embodiment["name"].partition("-")
    if maker == "franka":
        return {"robot": "libero", "environment": {"suite": suite, "render": "fast", **size}}
    rig = {0: "none", 4: "surround4", 6: "surround6"}[len(cameras)]
    return {"robot": "parking", "environment": {"split": "test", "cameras": rig, **size}}


def drive(policy: WebsocketClientPolicy, python: str, episode: int) -> str:
    """The outcome of one episode, driven in real time."""
    announced = policy.get_server_metadata()
    keys = announced["observation_keys"]
    sees = any(key.startswith("observation.images.") for key in keys)
    options = {**robot_options(announced["embodiment"]), "episode": episode, "sees": sees}
    broker = ActionChunkBroker(policy, announced["steps_per_decision"])
    ours, theirs = socket.socketpair()
    words = [str(theirs.fileno()), json.dumps(options)]
    command = [python, "-m", "helmsight.cli.simulated_robot", *words]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    robot = Connection(ours.detach())
    outcome = ""
    while not outcome:
        seen = unpackb(robot.recv_bytes())
        while robot.poll():  # only the newest counts
            seen = unpackb(robot.recv_bytes())
        outcome = seen["outcome"]
        reply = broker.infer({key: seen["values"][key] for key in keys})
        robot.send_bytes(packb({"action": reply["actions"]}))
    robot.send_bytes(packb({"stop": True}))
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
