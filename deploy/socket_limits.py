"""A limit on how long sending may wait for room in a connection."""

from __future__ import annotations

import socket
import struct


def limit_sending(connection: socket.socket, seconds: float) -> None:
    """Let no message wait longer than so many seconds for the other side to read.

    A side that reads nothing any more leaves room for a few megabytes; a blocking socket would then
    wait for it for ever. Sending raises BlockingIOError (an OSError) instead; part of the message
    may be out by then, so that no other can follow it.
    """
    whole, part = divmod(seconds, 1.0)
    limit = struct.pack("ll", int(whole), int(part * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
