"""A robot's end of openpi's websocket protocol: every wait has an end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from helmsight.deploy.socket_limits import limit_sending
from helmsight.deploy.wire import WireError, decode, encode
from helmsight.envs.spec import EmbodimentSpec

MAX_REPLY_BYTES = 1 << 20


class ServerLostError(ConnectionError):
    """The server cannot be reached, or does not answer in time."""


class BadReplyError(RuntimeError):
    """The server answered with an error, or with what is no chunk of actions."""


@dataclass(frozen=True)
class Announcement:
    """What a server says about its policy."""

    policy: str
    observation_keys: tuple[str, ...]
    steps_per_decision: int
    embodiment: EmbodimentSpec

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Announcement:
        """Raises BadReplyError for a message of another server."""
        try:
            return cls(
                policy=str(message["policy"]),
                observation_keys=tuple(map(str, message["observation_keys"])),
                steps_per_decision=int(message["steps_per_decision"]),
                embodiment=EmbodimentSpec.from_dict(message["embodiment"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadReplyError(
                f"the server announces no policy of helmsight: {error!r} (is it `helmsight serve`?)"
            ) from None


class PolicyClient:
    """One connection to a policy server, made again by `connect` after it was lost.

    connect_seconds, reply_seconds: how long connecting and a reply may take.
    """

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        connect_seconds: float = 2.0,
        reply_seconds: float = 2.0,
    ) -> None:
        if not server.startswith(("ws://", "wss://")):
            raise ValueError(f"server={server} must begin with ws:// or wss://")
        self._server = server
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._connect_seconds, self._reply_seconds = connect_seconds, reply_seconds
        self._connection: ClientConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as anybody knows."""
        return self._connection is not None

    def connect(self) -> Announcement:
        """Connect and read the announcement.

        Raises ServerLostError when that fails, BadReplyError for another kind of server,
        PermissionError when the server wants another key.
        """
        self.close()
        try:
            self._connection = self._opened()
            limit_sending(self._connection.socket, self._reply_seconds)
            return _announced(self._connection.recv(timeout=self._connect_seconds))
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise PermissionError(f"{self._server} wants another API key") from None
            raise ServerLostError(f"{self._server}: {error}") from None
        except InvalidURI as error:
            raise ValueError(f"server={self._server}: {error}") from None
        except (OSError, InvalidHandshake, WebSocketException) as error:
            self.close()
            raise ServerLostError(f"{self._server}: {str(error) or type(error).__name__}") from None
        except BaseException:
            # Never connected to a server whose announcement was refused: it would be asked.
            self.close()
            raise

    def _opened(self) -> ClientConnection:
        return connect(
            self._server,
            compression=None,
            additional_headers=self._headers,
            open_timeout=self._connect_seconds,
            close_timeout=0.2,
            max_size=MAX_REPLY_BYTES,
            proxy=None,
        )

    def ask(self, values: dict[str, NDArray[Any]], entries: int) -> NDArray[np.float32]:
        """The chunk [K, A] for an observation; `entries` is A.

        Raises ServerLostError and disconnects, at once, when the connection breaks or there is no
        reply in time: a reply that comes later must not be taken for the next one's. Raises
        BadReplyError for an error, a wrong shape and values that are not finite; the connection
        stays.
        """
        if self._connection is None:
            raise ServerLostError(f"{self._server}: not connected")
        try:
            self._connection.send(encode(values))
            data = self._connection.recv(timeout=self._reply_seconds)
        except (OSError, WebSocketException) as error:
            self._abandon()
            raise ServerLostError(f"{self._server}: {str(error) or type(error).__name__}") from None
        if isinstance(data, str):
            raise BadReplyError(f"the server says: {data[:300]}")
        try:
            return _actions(decode(data), entries)
        except WireError as error:
            raise BadReplyError(str(error)) from None

    def _abandon(self) -> None:
        """Disconnect without a farewell: a server that is lost would be waited for in vain."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close_socket()

    def close(self) -> None:
        """Disconnect; `connect` connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def connect_patiently(client: PolicyClient, seconds: float) -> Announcement:
    """Connect, and try again for so many seconds while the server is not there yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            return client.connect()
        except ServerLostError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.2)


def _announced(data: bytes | str) -> Announcement:
    """Raises BadReplyError for what no server of helmsight says."""
    try:
        return Announcement.from_message(decode(data if isinstance(data, bytes) else b""))
    except WireError as error:
        raise BadReplyError(f"the server's announcement: {error}") from None


def _actions(message: dict[str, Any], entries: int) -> NDArray[np.float32]:
    actions = message.get("actions")
    if not isinstance(actions, np.ndarray) or actions.dtype.kind != "f":
        raise BadReplyError("the reply holds no floating-point array 'actions'")
    if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] != entries:
        raise BadReplyError(f"'actions' must be [K, {entries}], got {list(actions.shape)}")
    if not np.isfinite(actions).all():
        raise BadReplyError("'actions' are not finite")
    return actions.astype(np.float32)
