"""The server's connections: remote procedures on one port, sensor streams on another.

Loopback only: it has no authentication, and neither has CARLA's client.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgpack

from helmsight.envs.parking.carla_server.calls import Calls
from helmsight.envs.parking.carla_server.episode import WORLD_STREAM, Episode
from helmsight.envs.parking.carla_server.streams import framed
from helmsight.envs.parking.carla_server.wire import CallRefused, answered, read_request, refused
from helmsight.envs.parking.vehicle import CONTROL_PERIOD

HOST = "127.0.0.1"
LARGEST_REQUEST = 8 << 20
READ = 1 << 16
# How long a tick waits for the streams whose tokens a client has just asked for.
SUBSCRIPTION_SECONDS = 1.0
# A subscriber that leaves so much unread is dropped.
MOST_UNREAD = 64 << 20


class Streams:
    """Who listens to what."""

    def __init__(self) -> None:
        self._subscribers: dict[int, set[asyncio.StreamWriter]] = {}
        self._expected: dict[int, asyncio.Event] = {}

    def listening(self) -> list[int]:
        """Streams with subscribers."""
        return [stream for stream, writers in self._subscribers.items() if writers]

    def expect(self, stream: int) -> None:
        """A client has asked for the stream's token and is about to connect."""
        if stream != WORLD_STREAM:
            self._expected.setdefault(stream, asyncio.Event())

    async def all_connected(self) -> None:
        """Wait, but not for long, for the connections that are on their way."""
        expected = dict(self._expected)
        if not expected:
            return
        waiting = [asyncio.ensure_future(event.wait()) for event in expected.values()]
        _, late = await asyncio.wait(waiting, timeout=SUBSCRIPTION_SECONDS)
        for task in late:
            task.cancel()
        for stream in expected:
            self._expected.pop(stream, None)

    def publish(self, stream: int, payload: bytes) -> None:
        """Send a payload to all subscribers of a stream."""
        message = framed(payload)
        for writer in list(self._subscribers.get(stream, ())):
            if writer.transport.get_write_buffer_size() > MOST_UNREAD:
                writer.transport.abort()
            else:
                writer.write(message)

    def drop(self, stream: int) -> None:
        """Close the connections of a stream that is no more."""
        for writer in self._subscribers.pop(stream, set()):
            writer.close()
        self._expected.pop(stream, None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One subscription: four bytes name the stream, then the client only reads."""
        _without_delay(writer)
        stream = -1
        try:
            (stream,) = struct.unpack("<I", await reader.readexactly(4))
            self._subscribers.setdefault(stream, set()).add(writer)
            if stream in self._expected:
                self._expected[stream].set()
            while await reader.read(READ):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # Gone, or the server ends.
        finally:
            others = self._subscribers.get(stream, set())
            others.discard(writer)
            if not others:
                self._subscribers.pop(stream, None)
            writer.close()


class ProtocolServer:
    """The two listening sockets, the episode, and the clock of asynchronous mode."""

    def __init__(self) -> None:
        self._streams = Streams()
        self._ticking = asyncio.Lock()

    async def run(self, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` gets the port (a free one is taken for port 0).

        Raises OSError where a port is taken.
        """
        stream_server = await asyncio.start_server(
            self._streams.serve, HOST, port + 1 if port else 0
        )
        stream_port = stream_server.sockets[0].getsockname()[1]
        self._episode = Episode(self._streams.publish, stream_port)
        self._calls = Calls(
            self._episode, stream_port, self._tick, self._streams.expect, self._streams.drop
        )
        servers = [stream_server]
        try:
            rpc_server = await asyncio.start_server(self._serve_calls, HOST, port)
            servers.append(rpc_server)
            ready(rpc_server.sockets[0].getsockname()[1])
            await self._keep_time()
        finally:
            for server in servers:
                server.close()
            self._episode.close()

    async def _tick(self) -> int:
        async with self._ticking:
            await self._streams.all_connected()
            return self._advance()

    def _advance(self) -> int:
        """One tick; what its sensors say is sent when the call is answered."""
        loop = asyncio.get_running_loop()
        for stream, payload in self._episode.tick(self._streams.listening):
            loop.call_soon(self._streams.publish, stream, payload)
        return self._episode.frame

    async def _keep_time(self) -> None:
        """In asynchronous mode the world moves by itself; in synchronous mode never."""
        while True:
            await asyncio.sleep(CONTROL_PERIOD)
            async with self._ticking:
                await self._streams.all_connected()
                # Asked for last of all: a frame that nobody asked for would be taken for the first.
                if not self._episode.settings.synchronous:
                    with contextlib.suppress(CallRefused):
                        self._advance()

    async def _serve_calls(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One client's calls, answered one after another."""
        _without_delay(writer)
        unpacker = msgpack.Unpacker(
            raw=False, max_buffer_size=LARGEST_REQUEST, unicode_errors="replace"
        )
        try:
            while data := await reader.read(READ):
                unpacker.feed(data)
                for message in unpacker:
                    writer.write(await self._reply(message))
                await writer.drain()
        except (ValueError, msgpack.exceptions.UnpackException):
            pass  # Whoever does not speak the protocol is hung up on.
        except (ConnectionError, asyncio.CancelledError):
            pass  # Gone, or the server ends.
        finally:
            writer.close()

    async def _reply(self, message: Any) -> bytes:
        identity, name, arguments = read_request(message)
        call = self._calls.table.get(name)
        if call is None:
            return _packed([1, identity, f"this server has no function {name!r}", None])
        try:
            if len(arguments) != call.arguments:
                raise CallRefused(f"{name} takes {call.arguments} values, got {len(arguments)}")
            value = call.function(*arguments)
            result = answered(call.answer, await value if inspect.isawaitable(value) else value)
        except CallRefused as error:
            result = refused(call.answer, str(error))
        except (TypeError, ValueError, RuntimeError) as error:
            return _packed([1, identity, f"{name}: {error}", None])
        return _packed([1, identity, None, result])


def serve(port: int, ready: Callable[[int], None]) -> None:
    """Serve CARLA 0.9.16's protocol on loopback until SIGINT or SIGTERM; blocks.

    port: of the calls; the streams are on the next one. 0 takes free ports. `ready` is called with
    the port once clients can connect. Raises OSError where a port is taken.
    """
    try:
        asyncio.run(_serve(port, ready))
    except asyncio.CancelledError:
        return


async def _serve(port: int, ready: Callable[[int], None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    await ProtocolServer().run(port, ready)


def _without_delay(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _packed(value: Any) -> bytes:
    data = msgpack.packb(value, use_bin_type=True)
    assert isinstance(data, bytes)
    return data
