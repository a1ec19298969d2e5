"""The connection to a CARLA server: versions, maps, synchronous mode, and leaving things clean."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

from helmsight.envs.parking.vehicle import CONTROL_PERIOD

VERSION = "0.9.16"
OWN_ROLE, EGO_ROLE = "helmsight", "helmsight_ego"
# Loading a map takes a real server tens of seconds.
LOADING_SECONDS = 120.0
# How long a client that ticks a synchronous server is given to show itself.
WATCH_SECONDS = 2.0
PROTOCOL_MAPS = "Helmsight_"
CARLA_LABEL, PROTOCOL_LABEL = "carla", "carla-protocol (MuJoCo)"


def carla_module() -> Any:
    """The `carla` package. RuntimeError, saying how to get it, where it is not installed."""
    try:
        import carla
    except ImportError as error:
        raise RuntimeError(
            f"simulator=carla needs the client library (pip install carla=={VERSION}, for Linux on "
            f"x86-64 and Windows, Python 3.10 to 3.12): {error}"
        ) from None
    return carla


def connect(host: str, port: int, seconds: float) -> Any:
    """A `carla.Client` of a server of the right version.

    Raises ConnectionError where nothing answers within `seconds`, RuntimeError, naming both
    versions, for a client or server that is not 0.9.16.
    """
    # One thread for all streams: several would only wake each other for messages that come in turn.
    client = carla_module().Client(host, port, 1)
    client.set_timeout(seconds)
    try:
        server = client.get_server_version()
    except RuntimeError:
        raise ConnectionError(
            f"no CARLA server answers at {host}:{port} within {seconds:g} s; start one, or the "
            f"stand-in for tests: helmsight carla serve port={port}"
        ) from None
    for side, version in (("server", server), ("client library", client.get_client_version())):
        if version != VERSION:
            raise RuntimeError(
                f"the CARLA {side} at {host}:{port} is {version}; helmsight speaks {VERSION} only"
            )
    return client


def server_label(host: str, port: int, seconds: float) -> str:
    """What results over this server are called: it says itself whether MuJoCo is behind it."""
    return label_of_maps(connect(host, port, seconds).get_available_maps())


def label_of_maps(maps: list[str]) -> str:
    """`PROTOCOL_LABEL` for the maps that only `helmsight carla serve` has."""
    served = any(name.rpartition("/")[2].startswith(PROTOCOL_MAPS) for name in maps)
    return PROTOCOL_LABEL if served else CARLA_LABEL


class SynchronousWorld:
    """A world of a server that moves only when it is ticked, 0.1 s at a time.

    `leave` destroys what was spawned in its name and gives the server its settings back; it is
    called at the process's end too, also after an exception or Ctrl-C. What a killed process left
    behind is cleaned up here by the next one.
    """

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self.carla = carla_module()
        self.address = f"{host}:{port}"
        self.seconds = seconds
        self.client = connect(host, port, seconds)
        self.label = label_of_maps(self.client.get_available_maps())
        self.world = self.client.get_world()
        self._saved = self._settings_to_restore()
        self._listening: list[Any] = []
        self._entered = False
        self._finalizer = Finalize(self, _leave, args=(vars(self),), exitpriority=10)
        self._enter()

    @property
    def map(self) -> str:
        """Name of the map without its folder."""
        return str(self.world.get_map().name).rpartition("/")[2]

    def load(self, name: str) -> None:
        """Change the map, if another one is loaded.

        Raises ValueError, naming the maps, for one that the server does not have.
        """
        if self.map == name:
            return
        maps = sorted(path.rpartition("/")[2] for path in self.client.get_available_maps())
        if name not in maps:
            raise ValueError(
                f"the CARLA server at {self.address} has no map {name}; it has {', '.join(maps)}"
            )
        self.client.set_timeout(max(LOADING_SECONDS, self.seconds))
        try:
            self.world = self.client.load_world(name)
        finally:
            self.client.set_timeout(self.seconds)
        if name.endswith("_Opt"):
            # The map's own parked cars stand where the scenario's are to stand.
            self.world.unload_map_layer(self.carla.MapLayer.ParkedVehicles)
        self._enter()

    def tick(self) -> Any:
        """Move the world on by one control period; its snapshot.

        Raises ConnectionError where the server does not answer within the time-out.
        """
        try:
            frame = self.world.tick(self.seconds)
        except RuntimeError as error:
            raise ConnectionError(
                f"the CARLA server at {self.address} stopped answering: {error}"
            ) from None
        snapshot = self.world.get_snapshot()
        if snapshot.frame != frame:
            raise ConnectionError(
                f"the CARLA server at {self.address} ticked to frame {frame}, its world is at "
                f"{snapshot.frame}: does another client tick it?"
            )
        return snapshot

    def listen(self, sensor: Any, callback: Callable[[Any], None]) -> None:
        """Let a sensor's data reach `callback`, in the client's own thread."""
        sensor.listen(callback)
        self._listening.append(sensor)

    def silence(self) -> None:
        """Stop all sensors: a client that ends while one is listened to is aborted."""
        _silence(self._listening)

    def leave(self) -> None:
        """Clean up. Calling it twice is harmless, and so is a server that is gone."""
        self._finalizer()

    def _settings_to_restore(self) -> Any:
        """The server's settings; those of asynchronous mode where a dead client left it stopped.

        Raises ServerTaken where another client drives the server in synchronous mode.
        """
        settings = self.world.get_settings()
        if not settings.synchronous_mode:
            return settings
        with contextlib.suppress(RuntimeError):
            self.world.wait_for_tick(WATCH_SECONDS)
            raise ServerTaken(
                f"another client drives the CARLA server at {self.address} in synchronous mode; "
                "use one server a worker"
            )
        settings.synchronous_mode = False
        settings.fixed_delta_seconds = None
        return settings

    def _enter(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = CONTROL_PERIOD
        settings.substepping = True
        settings.max_substep_delta_time = 0.01
        settings.max_substeps = 10
        self.world.apply_settings(settings)
        self._entered = True
        self.tick()
        _destroy_own(self.client, self.carla, self.world)


class ServerTaken(ConnectionError):
    """Another client has the server in synchronous mode."""


def _leave(state: dict[str, Any]) -> None:
    """Undo `_enter`, as far as the server still answers."""
    _silence(state["_listening"])
    if not state["_entered"]:
        return
    state["_entered"] = False
    with contextlib.suppress(RuntimeError):
        state["client"].set_timeout(min(state["seconds"], 2.0))
        _destroy_own(state["client"], state["carla"], state["world"])
        state["world"].apply_settings(state["_saved"])


def _silence(listening: list[Any]) -> None:
    while listening:
        with contextlib.suppress(RuntimeError):
            listening.pop().stop()


def _destroy_own(client: Any, carla: Any, world: Any) -> None:
    """Destroy all actors that were spawned in helmsight's name, the attached ones first."""
    own = [a for a in world.get_actors() if a.attributes.get("role_name") in (OWN_ROLE, EGO_ROLE)]
    destroy(client, carla, sorted(own, key=lambda actor: actor.parent is None))


def destroy(client: Any, carla: Any, actors: list[Any]) -> None:
    """Destroy actors in their order; those that are gone already are no error."""
    if actors:
        commands = [carla.command.DestroyActor(actor.id) for actor in actors]
        client.apply_batch_sync(commands, False)
