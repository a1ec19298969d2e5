import socket
import struct
import time

import numpy as np
import pytest
from driving import MoodyServer, chunk_reply
from serving import CHUNK, FakeModel, ServerThread, observation

from helmsight.deploy.client import (
    BadReplyError,
    PolicyClient,
    ServerLostError,
    connect_patiently,
)
from helmsight.deploy.wire import encode

KEY = "a-key-of-20-characters"


@pytest.fixture
def moody():
    server = MoodyServer()
    yield server
    server.kill()


def sending(reply):
    return lambda connection: connection.send(reply)


def test_a_server_is_asked_and_answers():
    with ServerThread() as server:
        client = PolicyClient(server.address)
        assert client.connect().observation_keys == FakeModel.observation_keys
        assert client.ask(observation(), 3).shape == (CHUNK, 3)
        client.close()


@pytest.mark.parametrize(
    ("reply", "reason"),
    (
        ("no such thing", "the server says: no such thing"),
        (b"\xc1", "no msgpack map"),
        (encode({}), "no floating-point array 'actions'"),
        (chunk_reply(np.zeros((4, 3), np.int64)), "no floating-point array"),
        (chunk_reply(np.zeros((4, 2), np.float32)), r"must be \[K, 3\], got \[4, 2\]"),
        (chunk_reply(np.zeros((0, 3), np.float32)), r"must be \[K, 3\]"),
        (chunk_reply(np.full((4, 3), np.inf, np.float32)), "not finite"),
    ),
)
def test_a_reply_that_is_no_chunk_is_named_and_the_connection_stays(moody, reply, reason):
    client = PolicyClient(moody.address)
    client.connect()
    moody.mood = sending(reply)
    with pytest.raises(BadReplyError, match=reason):
        client.ask(observation(), 3)
    moody.mood = sending(chunk_reply(np.zeros((4, 3), np.float32)))
    assert client.ask(observation(), 3).shape == (4, 3)
    client.close()


@pytest.mark.parametrize("embodiment", ("missing", {"state": [1, 2, 3]}, [], None))
def test_a_server_whose_announcement_is_refused_is_not_connected_to(moody, embodiment):
    moody.announcement = {**moody.announcement, "embodiment": embodiment}
    if embodiment == "missing":  # as openpi's own servers announce
        moody.announcement = {}
    client = PolicyClient(moody.address)
    with pytest.raises(BadReplyError, match="announces no policy of helmsight"):
        client.connect()
    assert not client.connected
    with pytest.raises(ServerLostError, match="not connected"):
        client.ask(observation(), 3)


def test_sending_an_observation_waits_no_longer_than_a_reply(moody):
    client = PolicyClient(moody.address, reply_seconds=1.5)
    client.connect()
    limit = client._connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16)
    assert struct.unpack("ll", limit) == (1, pytest.approx(500_000, abs=10_000))
    client.close()


def test_a_reply_that_does_not_come_in_time_ends_the_connection(moody):
    client = PolicyClient(moody.address, reply_seconds=0.1)
    client.connect()
    moody.mood = lambda connection: time.sleep(0.3)
    with pytest.raises(ServerLostError):
        client.ask(observation(), 3)
    assert not client.connected


def test_a_server_that_is_not_there_is_lost():
    client = PolicyClient("ws://127.0.0.1:9", connect_seconds=0.5)
    with pytest.raises(ServerLostError, match=r"127\.0\.0\.1:9"):
        client.connect()
    began = time.monotonic()
    with pytest.raises(ServerLostError):
        connect_patiently(client, 0.3)
    assert time.monotonic() - began >= 0.3


def test_a_wrong_key_is_told_apart_from_a_lost_server():
    with ServerThread(api_key=KEY) as server:
        with pytest.raises(PermissionError, match="another API key"):
            PolicyClient(server.address, "wrong" + KEY).connect()
        client = PolicyClient(server.address, KEY)
        client.connect()
        client.close()


@pytest.mark.parametrize("server", ("127.0.0.1:8000", "http://127.0.0.1"))
def test_an_address_of_another_kind_is_named(server):
    with pytest.raises(ValueError, match="must begin with ws://"):
        PolicyClient(server)
