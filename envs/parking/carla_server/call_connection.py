"""One client's connection for remote procedure calls: requests in, replies out, in their order."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any

import msgpack

from helmsight.envs.parking.carla_server.wire import (
    Answer,
    Call,
    CallRefused,
    answered,
    read_request,
    refused,
)

LARGEST_REQUEST = 8 << 20


class CallConnection(asyncio.Protocol):
    """Answers a client's calls one after another; who does not speak the protocol is hung up on.

    What can be answered at once is answered while the request is taken in: a reply does not wait
    for a turn of the event loop, of which other work may have the next.
    """

    def __init__(self, table: Mapping[str, Call]) -> None:
        self._table = table
        self._unpacker = msgpack.Unpacker(
            raw=False, max_buffer_size=LARGEST_REQUEST, unicode_errors="replace"
        )
        self._requests: deque[Any] = deque()
        self._waiting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        without_delay(transport)

    def connection_lost(self, exception: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            self._requests.extend(self._unpacker)
            self._answer()
        except (ValueError, msgpack.exceptions.UnpackException):
            self._transport.close()

    def pause_writing(self) -> None:
        """A client that does not read its replies gets no more of them."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._waiting is None:
            self._transport.resume_reading()

    def _answer(self) -> None:
        """Answer until a call has to wait for something; those after it wait for it.

        Replies to what came in together go out together: sending wakes the client, and while it
        reads that a control was taken, the tick after it would wait.
        """
        replies: list[bytes] = []
        try:
            while self._requests and self._waiting is None:
                identity, name, arguments = read_request(self._requests.popleft())
                reply = self._reply(identity, name, arguments)
                if isinstance(reply, bytes):
                    replies.append(reply)
                else:
                    self._transport.pause_reading()
                    self._waiting = asyncio.ensure_future(self._answer_later(reply))
        finally:
            if replies:
                self._transport.write(b"".join(replies))

    async def _answer_later(self, reply: Awaitable[bytes]) -> None:
        message = await reply
        self._waiting = None
        if self._transport.is_closing():
            return
        self._transport.write(message)
        self._transport.resume_reading()
        self.data_received(b"")

    def _reply(self, identity: int, name: str, arguments: Any) -> bytes | Awaitable[bytes]:
        call = self._table.get(name)
        if call is None:
            return _packed([1, identity, f"this server has no function {name!r}", None])
        try:
            if len(arguments) != call.arguments:
                raise CallRefused(f"{name} takes {call.arguments} values, got {len(arguments)}")
            value = call.function(*arguments)
        except (CallRefused, TypeError, ValueError, RuntimeError) as error:
            return _failure(identity, name, call.answer, error)
        if inspect.isawaitable(value):
            return _reply_later(identity, name, call.answer, value)
        return _packed([1, identity, None, answered(call.answer, value)])


def without_delay(transport: asyncio.BaseTransport) -> None:
    """Send small messages at once."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _reply_later(identity: int, name: str, kind: Answer, value: Awaitable[Any]) -> bytes:
    try:
        return _packed([1, identity, None, answered(kind, await value)])
    except (CallRefused, TypeError, ValueError, RuntimeError) as error:
        return _failure(identity, name, kind, error)


def _failure(identity: int, name: str, kind: Answer, error: Exception) -> bytes:
    """A refusal is an answer; whatever else goes wrong is an error of the call itself."""
    if isinstance(error, CallRefused):
        return _packed([1, identity, None, refused(kind, str(error))])
    return _packed([1, identity, f"{name}: {error}", None])


def _packed(value: Any) -> bytes:
    data = msgpack.packb(value, use_bin_type=True)
    assert isinstance(data, bytes)
    return data
