"""Malformed and hostile messages for the server.

`PYTHONPATH=. python tests/deploy/fuzzing.py 20000` sends so many to `helmsight serve`'s server in a
process of its own and tells what became of it.
"""

from __future__ import annotations

import multiprocessing
import random
import socket
import struct
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from serving import EMBODIMENT, ServerThread, ask, observation
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from helmsight.deploy.wire import encode

WELL_FORMED = encode(observation())
SECONDS_TO_ANSWER = 10.0


def flipped(chance: random.Random) -> bytes:
    """A request with a few bytes changed."""
    message = bytearray(WELL_FORMED)
    for _ in range(chance.randint(1, 20)):
        # Often where the structure is, at the beginning.
        end = len(message) if chance.random() < 0.5 else 120
        message[chance.randrange(end)] = chance.randrange(256)
    return bytes(message)


def cut(chance: random.Random) -> bytes:
    """The beginning of a request, or one with a piece more."""
    place = chance.randrange(len(WELL_FORMED))
    return WELL_FORMED[:place] if chance.random() < 0.7 else WELL_FORMED + WELL_FORMED[:place]


def noise(chance: random.Random) -> bytes:
    """Random bytes, as long as a message may be and a little longer."""
    return chance.randbytes(chance.choice((0, 1, 2, 10, 100, 5000, 30_000)))


def nested(chance: random.Random) -> bytes:
    """Headers of maps and lists within each other, with entries that never come."""
    header = chance.choice((b"\x81\xa1a", b"\x91", b"\xdd\x7f\xff\xff\xff", b"\xdc\xff\xff"))
    return header * chance.randint(1, 4000)


def pickled(chance: random.Random) -> bytes:
    """What a server that unpickles would run."""
    return b"cos\nsystem\n(S'echo owned'\ntR." * chance.randint(1, 3)


def strange_arrays(chance: random.Random) -> bytes:
    """Well-formed msgpack whose arrays are none."""
    array: dict[Any, Any] = {
        b"__ndarray__": chance.choice((True, False, None, "yes")),
        b"data": chance.choice((b"", b"\0" * 32, "text", None, b"\0" * 768)),
        b"dtype": chance.choice(
            ("<f4", "|u1", "|O", "<M8[ns]", "V999999999", "", None, ",".join("f" * 99))
        ),
        b"shape": chance.choice(([8], [16, 16, 3], [-1], [2**63 - 1] * 5, [0] * 200, None, [1.5])),
    }
    key = chance.choice((*EMBODIMENT.image_keys, "observation.state", "x" * 500, ""))
    return bytes(msgpack.packb({**dict.fromkeys(EMBODIMENT.image_keys, array), key: array}))


def strange_values(chance: random.Random) -> bytes:
    """An observation with values that no sensor gives."""
    seen: dict[str, Any] = dict(observation())
    state = seen["observation.state"].copy()
    state[chance.randrange(8)] = chance.choice((np.nan, np.inf, -np.inf, 1e38, -1e9))
    seen["observation.state"] = chance.choice(
        (state, state[:3], state.astype(np.float16), state[None])
    )
    if chance.random() < 0.3:
        seen[chance.choice(EMBODIMENT.image_keys)] = np.zeros(chance.choice((0, 7)), np.uint8)
    return encode(seen)


MAKERS: tuple[Callable[[random.Random], bytes], ...] = (
    *(flipped, cut, noise, nested, pickled, strange_arrays, strange_values),
)


def broken_frames(chance: random.Random, address: str) -> None:
    """A stranger who speaks no HTTP, or no websocket after it."""
    host, port = address.removeprefix("ws://").split(":")
    shake = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=5.0) as stranger:
        if chance.random() < 0.5:
            stranger.sendall(
                chance.choice((chance.randbytes(200), b"POST / HTTP/1.1\r\n\r\n", shake[:50]))
            )
            return
        stranger.sendall(shake)
        stranger.recv(4096)
        claim = struct.pack(">BBQ", 0x82, 0xFF, 2**62)
        stranger.sendall(
            chance.choice((claim, chance.randbytes(100), b"\x82\x05hello", b"\x88\xff"))
        )


class Fuzzer:
    """Sends messages to a server and counts what becomes of them."""

    def __init__(self, address: str, seed: int = 0) -> None:
        self._address, self._chance = address, random.Random(seed)
        self._connection: ClientConnection | None = None
        self.outcomes: Counter[str] = Counter()

    def send(self, count: int) -> None:
        """So many messages; every hundredth is no websocket at all."""
        for number in range(count):
            if number % 100 == 99:
                try:
                    broken_frames(self._chance, self._address)
                except OSError:
                    self.outcomes["reset"] += 1
                self.outcomes["broken frames"] += 1
                continue
            self.outcomes[self._send(self._chance.choice(MAKERS)(self._chance))] += 1
        if self._connection is not None:
            self._connection.close()

    def _send(self, message: bytes) -> str:
        try:
            if self._connection is None:
                self._connection = connect(self._address, compression=None, open_timeout=10.0)
                self._connection.recv(timeout=SECONDS_TO_ANSWER)
            self._connection.send(message)
            reply = self._connection.recv(timeout=SECONDS_TO_ANSWER)
        except TimeoutError:
            self._connection = None
            return "hung"
        except (ConnectionClosed, InvalidHandshake, OSError):
            self._connection = None
            return "closed"
        return "refused" if isinstance(reply, str) else "answered"


def is_in_order(address: str) -> bool:
    """Whether a proper request gets its answer."""
    with connect(address, compression=None) as robot:
        robot.recv(timeout=SECONDS_TO_ANSWER)
        return isinstance(ask(robot, observation()), dict)


def _serve(port: Any) -> None:
    with ServerThread() as server:
        port.send(server.address)
        port.recv()


def _memory_mb(process: int) -> float:
    (line,) = [
        line
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024.0


def main(count: int) -> int:
    """Fuzz a server in a process of its own; 1 when it crashed, hung or grew."""
    context = multiprocessing.get_context("spawn")
    port, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    address = port.recv()
    assert process.pid is not None
    fuzzer, started = Fuzzer(address), time.monotonic()
    fuzzer.send(count // 10)  # what is allocated once is no growth
    memory = _memory_mb(process.pid)
    fuzzer.send(count - count // 10)
    grown = _memory_mb(process.pid) - memory
    alive = process.is_alive() and is_in_order(address)
    url = address.replace("ws://", "http://") + "/healthz"
    with urllib.request.urlopen(url) as response:
        alive = alive and response.status == 200
    print(f"{count} messages in {time.monotonic() - started:.0f} s: {dict(fuzzer.outcomes)}")
    print(f"server alive and in order: {alive}; memory {memory:.1f} MB, grown by {grown:.1f} MB")
    port.send("stop")
    process.join(20.0)
    return int(not alive or fuzzer.outcomes["hung"] > 0 or grown > 5.0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
