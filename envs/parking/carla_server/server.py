"""The server's connections: remote procedures on one port, sensor streams on another.

Loopback only: it has no authentication, and neither has CARLA's client.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
from collections.abc import Awaitable, Callable, Iterator

from helmsight.envs.parking.carla_server.call_connection import CallConnection, without_delay
from helmsight.envs.parking.carla_server.calls import Calls
from helmsight.envs.parking.carla_server.eager_selector import EagerSelector
from helmsight.envs.parking.carla_server.episode import WORLD_STREAM, Episode
from helmsight.envs.parking.carla_server.sensors import Message
from helmsight.envs.parking.carla_server.streams import framed
from helmsight.envs.parking.carla_server.wire import CallRefused
from helmsight.envs.parking.vehicle import CONTROL_PERIOD

HOST = "127.0.0.1"
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

    @property
    def complete(self) -> bool:
        """Whether no connection is on its way."""
        return not self._expected

    async def all_connected(self) -> None:
        """Wait, but not for long, for the connections that are on their way."""
        if self.complete:
            return
        expected = dict(self._expected)
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
        without_delay(writer.transport)
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
        self._sending: asyncio.Task[None] | None = None

    async def run(self, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` gets the port (a free one is taken for port 0).

        Raises OSError where a port is taken.
        """
        stream_server = await asyncio.start_server(
            self._streams.serve, HOST, port + 1 if port else 0
        )
        stream_port = stream_server.sockets[0].getsockname()[1]
        self._episode = Episode(self._streams.publish, stream_port)
        table = Calls(
            self._episode, stream_port, self._tick, self._streams.expect, self._streams.drop
        ).table
        servers: list[asyncio.AbstractServer] = [stream_server]
        try:
            rpc_server = await asyncio.get_running_loop().create_server(
                lambda: CallConnection(table), HOST, port
            )
            servers.append(rpc_server)
            ready(rpc_server.sockets[0].getsockname()[1])
            await self._keep_time()
        finally:
            for server in servers:
                server.close()
            self._episode.close()

    def _tick(self) -> int | Awaitable[int]:
        """Drive for one period; the frame, or what waits for it where something is under way."""
        if self._ticking.locked() or self._sending is not None or not self._streams.complete:
            return self._tick_later()
        return self._advance()

    async def _tick_later(self) -> int:
        async with self._ticking:
            await self._settled()
            return self._advance()

    async def _settled(self) -> None:
        """Wait for connections that are on their way and for the last tick's messages.

        Raises RuntimeError where those could not be made.
        """
        await self._streams.all_connected()
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending

    def _advance(self) -> int:
        """One tick. Its sensors' messages are made and sent after the call has been answered."""
        messages = self._episode.tick(self._streams.listening)
        self._sending = asyncio.ensure_future(self._send(messages))
        return self._episode.frame

    async def _send(self, messages: Iterator[Message | None]) -> None:
        """Send messages as they are made; calls that ask for no tick are answered meanwhile."""
        for message in messages:
            if message is None:
                await asyncio.sleep(0)
            else:
                self._streams.publish(*message)
        self._sending = None

    async def _keep_time(self) -> None:
        """In asynchronous mode the world moves by itself; in synchronous mode never."""
        while True:
            await asyncio.sleep(CONTROL_PERIOD)
            if self._episode.settings.synchronous:
                continue
            async with self._ticking:
                await self._settled()
                # Asked again: a frame that nobody asked for would be taken for the first.
                if not self._episode.settings.synchronous:
                    with contextlib.suppress(CallRefused):
                        self._advance()


def serve(port: int, ready: Callable[[int], None]) -> None:
    """Serve CARLA 0.9.16's protocol on loopback until SIGINT or SIGTERM; blocks.

    port: of the calls; the streams are on the next one. 0 takes free ports. `ready` is called with
    the port once clients can connect. Raises OSError where a port is taken.
    """
    with contextlib.closing(asyncio.SelectorEventLoop(EagerSelector())) as loop:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(_serve(port, ready))
        loop.run_until_complete(_end_connections())


async def _serve(port: int, ready: Callable[[int], None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    await ProtocolServer().run(port, ready)


async def _end_connections() -> None:
    """Let go of what still waits for a client."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
