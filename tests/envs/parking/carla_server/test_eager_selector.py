import selectors
import socket
import time

import pytest

from helmsight.envs.parking.carla_server.eager_selector import AWAKE_SECONDS, EagerSelector


@pytest.fixture
def pair():
    first, second = socket.socketpair()
    with first, second, EagerSelector() as selector:
        selector.register(second, selectors.EVENT_READ)
        yield selector, first


def test_what_is_ready_is_told_whatever_the_time_out(pair):
    selector, sender = pair
    sender.send(b"x")
    for timeout in (None, 0.0, 5.0):
        ((_, events),) = selector.select(timeout)
        assert events == selectors.EVENT_READ


def test_it_still_sleeps_until_the_time_is_up(pair):
    selector, _ = pair
    before, used = time.perf_counter(), time.process_time()
    assert selector.select(0.2) == []
    assert time.perf_counter() - before >= 0.2
    assert time.process_time() - used < 0.1 + 10 * AWAKE_SECONDS


def test_it_does_not_wait_when_told_not_to(pair):
    selector, _ = pair
    assert all(selector.select(timeout) == [] for timeout in (0.0, -1.0))
