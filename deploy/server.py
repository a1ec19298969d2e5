"""A policy server that speaks openpi's websocket protocol.

On connecting, a robot gets one binary message: a map that announces the policy and its embodiment.
Then requests (an observation, a msgpack map) and replies (a map with `actions` [K, A] and
`server_timing`) alternate. A request that is refused is answered by a text frame that says why;
the connection stays open for the next. `GET /healthz` answers "OK", `GET /metrics` the metrics.

Whoever can reach the port is a stranger: connections need the API key where one is set, messages
are bounded in size, in fragments and in time, web pages (which send an Origin) are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import logging
import signal
import time
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from helmsight.deploy.batcher import Batcher, QueueFullError
from helmsight.deploy.metrics import CONTENT_TYPE, ServerMetrics
from helmsight.deploy.model import MEMORY_KEY, Model, ModelError, Recollection
from helmsight.deploy.observation_check import ObservationChecker, ObservationError
from helmsight.deploy.wire import WireError, decode, encode

logger = logging.getLogger(__name__)

PROTOCOL = "openpi"
LEAST_KEY_LENGTH = 16
MAX_FRAGMENTS = 256
MAX_ERROR_LENGTH = 600
MAX_UNREAD_BYTES = 1 << 20
CLOSE_SECONDS = 2.0
GOING_AWAY, POLICY_VIOLATION = 1001, 1008
LAST_PORT = 65535


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, whom it lets in, and what it bears. Times are in seconds.

    api_key: wanted of every client when given; needed unless the host is this machine alone.
    max_message_bytes: None derives it from the embodiment.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    max_connections: int = 8
    max_batch: int = 8
    queue_length: int = 16
    max_message_bytes: int | None = None
    request_seconds: float = 5.0
    idle_seconds: float = 300.0
    receive_seconds: float = 5.0
    send_seconds: float = 5.0
    open_seconds: float = 5.0
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.api_key is None and not is_loopback(self.host):
            raise ValueError(
                f"host={self.host} is reachable from outside, so an API key is needed: put one "
                "into the environment variable HELMSIGHT_API_KEY or into a file (api_key_file=), "
                "or keep host=127.0.0.1"
            )
        if self.api_key is not None and len(self.api_key) < LEAST_KEY_LENGTH:
            raise ValueError(
                f"the API key has {len(self.api_key)} characters, expected at least "
                f"{LEAST_KEY_LENGTH}; python -c 'import secrets; print(secrets.token_hex())' "
                "makes one"
            )
        if not 0 <= self.port <= LAST_PORT:
            raise ValueError(f"port must be 0 to {LAST_PORT}, got {self.port}")
        for name in ("max_connections", "max_batch", "queue_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (key for key in vars(self) if key.endswith("_seconds")):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


def is_loopback(host: str) -> bool:
    """Whether a host is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _RobotConnection(ServerConnection):
    """A connection that is cut when its robot asks for more than it reads.

    Pings are answered as they come, past all limits on messages: who sent nothing else and read
    none of the answers would fill the memory with them.
    """

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()


class PolicyServer:
    """One model behind one port. `start`, then `stop`; both in one event loop."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        self._checker = ObservationChecker(model.embodiment, model.observation_keys)
        self._settings = settings
        self._batcher = Batcher(model, settings.max_batch, settings.queue_length)
        self._open: set[ServerConnection] = set()
        self._busy: set[ServerConnection] = set()
        self._stopping = False
        self._server: Server | None = None
        self._inference: asyncio.Task[None] | None = None
        self.metrics = ServerMetrics(lambda: self._batcher.waiting, lambda: len(self._open))
        self._announcement = encode(
            {
                "protocol": PROTOCOL,
                "policy": model.name,
                "observation_keys": list(model.observation_keys),
                "steps_per_decision": model.steps_per_decision,
                "embodiment": model.embodiment.to_dict(),
            }
        )

    # Life

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        settings = self._settings
        self._server = await serve(
            self._serve_robot,
            settings.host,
            settings.port,
            process_request=self._door,
            compression=None,
            max_size=settings.max_message_bytes or self._checker.max_message_bytes,
            max_queue=2,
            open_timeout=settings.open_seconds,
            close_timeout=CLOSE_SECONDS,
            server_header=None,
            create_connection=_RobotConnection,
            logger=_quiet_logger(),
        )
        self._inference = asyncio.create_task(self._batcher.run(self.metrics))

    @property
    def address(self) -> str:
        """ws://host:port, with the port that was taken where 0 was asked for."""
        assert self._server is not None, "start comes first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"

    async def stop(self) -> None:
        """Take no more requests, answer those under way, close every connection.

        What is not done after `drain_seconds` is cut off.
        """
        assert self._server is not None and self._inference is not None, "start comes first"
        self._stopping = True
        self._server.close(close_connections=False)
        idle = [c.close(GOING_AWAY, "server stops") for c in self._open - self._busy]
        closing = asyncio.gather(*idle, self._server.wait_closed(), return_exceptions=True)
        try:
            await asyncio.wait_for(closing, self._settings.drain_seconds)
        except asyncio.TimeoutError:
            logger.warning("cut off %d connections that did not end", len(self._open))
            for connection in self._open:
                connection.transport.abort()
        self._inference.cancel()
        await asyncio.gather(self._inference, return_exceptions=True)

    # The door

    def _door(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets a websocket in; a response is the answer to anything else."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if not self._authorized(request):
            self.metrics.turned_away.add("unauthorized")
            text = "wanted: the header Authorization: Api-Key <key>\n"
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, text)
        if path == "/metrics":
            response = connection.respond(http.HTTPStatus.OK, self.metrics.text())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = CONTENT_TYPE
            return response
        if path != "/":
            text = "here are / (websocket), /healthz and /metrics\n"
            return connection.respond(http.HTTPStatus.NOT_FOUND, text)
        if "Origin" in request.headers:
            self.metrics.turned_away.add("cross_site")
            return connection.respond(http.HTTPStatus.FORBIDDEN, "web pages are not served\n")
        if self._stopping or len(self._open) >= self._settings.max_connections:
            self.metrics.turned_away.add("full")
            text = f"{len(self._open)} robots are connected, and no more are taken now\n"
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, text)
        return None

    def _authorized(self, request: Request) -> bool:
        if self._settings.api_key is None:
            return True
        given = request.headers.get_all("Authorization")
        wanted = f"Api-Key {self._settings.api_key}".encode()
        # Compared in constant time: how long it takes must not tell how much of a key is right.
        return len(given) == 1 and hmac.compare_digest(_raw(given[0]), wanted)

    # A connection

    async def _serve_robot(self, connection: ServerConnection) -> None:
        self._open.add(connection)
        peer = connection.remote_address
        logger.info("%s connected", peer)
        try:
            await self._send(connection, self._announcement)
            await self._converse(connection)
        except ConnectionClosed as closed:
            logger.info("%s left (%s)", peer, closed)
        except TurnedAwayError as turned:
            self.metrics.turned_away.add(turned.reason)
            logger.warning("%s turned away: %s", peer, turned)
            await connection.close(POLICY_VIOLATION, str(turned))
        finally:
            self._open.discard(connection)
            self._busy.discard(connection)

    async def _converse(self, connection: ServerConnection) -> None:
        """Request and reply in turns, until the server stops.

        A connection is one robot's: what the policy remembers lasts as long as it.
        """
        kept = Recollection()
        previous_ms: float | None = None
        refused_before = False
        while not self._stopping:
            message = await self._receive(connection)
            started = time.perf_counter()
            self._busy.add(connection)
            reply, outcome = await self._answer(message, kept, previous_ms)
            # Counted before it is sent: whoever has the reply finds it in the metrics.
            self.metrics.requests.add(outcome)
            if isinstance(reply, str) and not refused_before:
                refused_before = True  # once a connection: nobody fills the log from outside
                logger.warning("%s %s: %s", connection.remote_address, outcome, reply)
            await self._send(connection, reply)
            self._busy.discard(connection)
            elapsed = time.perf_counter() - started
            self.metrics.request_seconds.observe(elapsed)
            previous_ms = 1000.0 * elapsed
        await connection.close(GOING_AWAY, "server stops")

    async def _answer(
        self, message: bytes | None, kept: Recollection, previous_ms: float | None
    ) -> tuple[bytes | str, str]:
        """Reply and outcome: bytes for actions, text for an error."""
        try:
            if message is None:
                raise WireError("expected a binary message, got text")
            observation = self._checker.check(decode(message))
            decision = await asyncio.wait_for(
                self._batcher.decide({**observation, MEMORY_KEY: kept}),
                self._settings.request_seconds,
            )
        except (WireError, ObservationError) as error:
            return str(error)[:MAX_ERROR_LENGTH], "refused"
        except QueueFullError as error:
            return f"busy: {error}", "busy"
        except asyncio.TimeoutError:
            return f"no decision within {self._settings.request_seconds:g} s", "late"
        except ModelError as error:
            return f"the policy failed: {error}"[:MAX_ERROR_LENGTH], "failed"
        timing: dict[str, Any] = {"infer_ms": decision.infer_ms}
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        return encode({"actions": decision.actions, "server_timing": timing}), "answered"

    async def _receive(self, connection: ServerConnection) -> bytes | None:
        """The next binary message, or None for a text one.

        Raises TurnedAwayError for a client that says nothing for too long, that takes too long to
        say it, or that cuts it into countless pieces.
        """
        settings = self._settings
        fragments = connection.recv_streaming(decode=None)
        try:
            first = await asyncio.wait_for(anext(fragments), settings.idle_seconds)
        except asyncio.TimeoutError:
            raise TurnedAwayError("idle", f"silent for {settings.idle_seconds:g} s") from None
        parts = [first]

        async def rest() -> None:
            async for fragment in fragments:
                parts.append(fragment)
                if len(parts) > MAX_FRAGMENTS:
                    text = f"a message of more than {MAX_FRAGMENTS} fragments"
                    raise TurnedAwayError("fragments", text)

        try:
            await asyncio.wait_for(rest(), settings.receive_seconds)
        except asyncio.TimeoutError:
            text = f"a message that took more than {settings.receive_seconds:g} s"
            raise TurnedAwayError("slow", text) from None
        if isinstance(first, str):
            return None
        return b"".join(part for part in parts if isinstance(part, bytes))

    async def _send(self, connection: ServerConnection, message: bytes | str) -> None:
        """Raises TurnedAwayError for a client that does not read."""
        try:
            await asyncio.wait_for(connection.send(message), self._settings.send_seconds)
        except asyncio.TimeoutError:
            connection.transport.abort()
            raise TurnedAwayError("not_reading", "does not read its replies") from None


def _raw(header: str) -> bytes:
    return header.encode("utf-8", "surrogateescape")


class TurnedAwayError(Exception):
    """A client that does not keep to the limits; `reason` is its label in the metrics."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def _quiet_logger() -> logging.Logger:
    """The websocket library's own logger: what strangers do wrong is no traceback of ours."""
    quiet = logging.getLogger("helmsight.deploy.websockets")
    quiet.setLevel(logging.CRITICAL)
    return quiet


def serve_forever(model: Model, settings: ServerSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way and return."""
    asyncio.run(_serve_until_signalled(model, settings))


async def _serve_until_signalled(model: Model, settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = PolicyServer(model, settings)
    model.warm_up()
    await server.start()
    key = "with an API key" if settings.api_key else "without an API key, to this machine alone"
    logger.info("serving %s on %s, %s", model.name, server.address, key)
    await stop.wait()
    logger.info("stopping: finishing what is under way")
    await server.stop()
    logger.info("stopped")
