import socket
import time

import pytest

from helmsight.deploy.socket_limits import limit_sending


def test_sending_to_a_side_that_reads_nothing_ends_in_time():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        limit_sending(ours, 0.2)
        began = time.monotonic()
        with pytest.raises(BlockingIOError):
            ours.sendall(bytes(1 << 24))
        assert 0.1 < time.monotonic() - began < 10.0


def test_what_is_read_is_sent_as_before():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        limit_sending(ours, 0.2)
        ours.sendall(b"hello")
        assert theirs.recv(5) == b"hello"
