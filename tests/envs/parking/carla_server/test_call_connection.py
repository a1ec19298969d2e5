"""Requests and replies of one connection, over a socket of its own."""

import asyncio

import msgpack
import pytest

from helmsight.envs.parking.carla_server.call_connection import CallConnection
from helmsight.envs.parking.carla_server.wire import Call, CallRefused


def request(identity, name, *arguments):
    return msgpack.packb([0, identity, name, [[False], *arguments]])


def talk(data, table, replies):
    """What a connection answers to some bytes: so many replies, or all until it hangs up."""

    async def run():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: CallConnection(table), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(data)
        unpacker, found = msgpack.Unpacker(), []
        while len(found) < replies and (answer := await asyncio.wait_for(reader.read(4096), 10.0)):
            unpacker.feed(answer)
            found += list(unpacker)
        writer.close()
        server.close()
        return found

    return asyncio.run(run())


def refusing():
    raise CallRefused("not today")


def failing():
    raise RuntimeError("broken")


@pytest.fixture
def table():
    order = []

    async def slow():
        await asyncio.sleep(0.05)
        order.append("slow")
        return 7

    def quick(value):
        order.append("quick")
        return [value, list(order)]

    return {
        "slow": Call(slow, 0),
        "quick": Call(quick, 1),
        "refusing": Call(refusing, 0),
        "failing": Call(failing, 0),
    }


def test_calls_are_answered_in_their_order_though_one_of_them_has_to_wait(table):
    data = request(1, "quick", 1) + request(2, "slow") + request(3, "quick", 3)
    assert talk(data, table, 3) == [
        [1, 1, None, [[1, [1, ["quick"]]]]],
        [1, 2, None, [[1, 7]]],
        [1, 3, None, [[1, [3, ["quick", "slow", "quick"]]]]],
    ]


def test_replies_to_calls_that_came_together_leave_together(table):
    class Wire:
        def __init__(self):
            self.written = []

        def write(self, data):
            self.written.append(data)

    connection = CallConnection(table)
    connection._transport = wire = Wire()
    connection.data_received(request(1, "quick", 1) + request(2, "refusing"))
    (together,) = wire.written
    unpacker = msgpack.Unpacker()
    unpacker.feed(together)
    assert [reply[1] for reply in unpacker] == [1, 2]


def test_a_call_that_is_none_takes_no_earlier_reply_away(table):
    data = request(1, "refusing") + msgpack.packb("no call")
    assert talk(data, table, 2) == [[1, 1, None, [[0, ["not today"]]]]]


def test_a_refusal_is_an_answer_and_a_failure_an_error(table):
    data = request(1, "refusing") + request(2, "failing") + request(3, "unheard-of")
    refused, failed, unknown = talk(data, table, 3)
    assert refused == [1, 1, None, [[0, ["not today"]]]]
    assert failed == [1, 2, "failing: broken", None]
    assert unknown[2] == "this server has no function 'unheard-of'"


def test_a_call_with_other_arguments_is_refused(table):
    (answer,) = talk(request(1, "quick"), table, 1)
    assert answer[3] == [[0, ["quick takes 1 values, got 0"]]]


@pytest.mark.parametrize("nonsense", [b"\xc1", msgpack.packb(["GET", "/"]), msgpack.packb(3)])
def test_who_does_not_speak_the_protocol_is_hung_up_on(table, nonsense):
    assert talk(nonsense, table, 99) == []


def test_a_request_before_nonsense_is_still_answered(table):
    answers = talk(request(1, "quick", 1) + msgpack.packb(3), table, 99)
    assert [answer[1] for answer in answers] == [1]
