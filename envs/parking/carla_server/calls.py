"""The remote procedures that CARLA 0.9.16's client calls, carried out on an episode."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.carla_server.actors import SPECTATOR, Actor
from helmsight.envs.parking.carla_server.blueprints import BLUEPRINTS, CAMERAS, LOOKS
from helmsight.envs.parking.carla_server.episode import WORLD_STREAM, Episode, Settings
from helmsight.envs.parking.carla_server.looks import read_looks
from helmsight.envs.parking.carla_server.lot_world import MAPS, Control, colour_of
from helmsight.envs.parking.carla_server.opendrive import opendrive
from helmsight.envs.parking.carla_server.sensors import camera_spec
from helmsight.envs.parking.carla_server.wire import (
    ORIGIN,
    VERSION,
    Answer,
    Call,
    CallRefused,
    Transform,
    refused,
    token,
)
from helmsight.envs.parking.mujoco.model import BODY_MASS, TRACK, WHEEL_MASS, WHEEL_RADIUS
from helmsight.envs.parking.scenario import FAMILIES
from helmsight.envs.parking.vehicle import EGO

LARGEST_BATCH = 1000
MAP_FOLDER = "Carla/Maps/"
SPAWN, DESTROY, CONTROL, TRANSFORM, PHYSICS = 0, 1, 2, 6, 14


class Calls:
    """Remote procedures by name. Those that have to wait for a tick give an awaitable.

    tick: drives for one period and gives the frame, or an awaitable of it. expect: is told which
    stream a client is about to open, drop which streams are gone.
    """

    def __init__(
        self,
        episode: Episode,
        stream_port: int,
        tick: Callable[[], int | Awaitable[int]],
        expect: Callable[[int], None],
        drop: Callable[[int], None],
    ) -> None:
        self._episode = episode
        self._port = stream_port
        self._tick, self._expect, self._drop = tick, expect, drop
        nothing = Answer.NOTHING
        self.table: dict[str, Call] = {
            "version": Call(lambda: VERSION, 0),
            "get_available_maps": Call(lambda: [MAP_FOLDER + name for name in MAPS], 0),
            "get_episode_info": Call(self._episode_info, 0),
            "get_sensor_token": Call(self._sensor_token, 1),
            "get_episode_settings": Call(lambda: episode.settings.packed(), 0),
            "set_episode_settings": Call(self._set_settings, 1),
            "get_required_files": Call(lambda _: [], 1),
            "query_lights_state": Call(lambda _: [], 1),
            "get_map_info": Call(self._map_info, 0),
            "get_map_data": Call(self._map_data, 0),
            "load_new_episode": Call(self._load_episode, 3, nothing),
            "tick_cue": Call(tick, 0),
            "get_actor_definitions": Call(self._definitions, 0),
            "spawn_actor": Call(self._spawn, 2),
            "spawn_actor_with_parent": Call(self._spawn_attached, 5),
            "destroy_actor": Call(self._destroy, 1),
            "get_actors_by_id": Call(self._actors_by_id, 1),
            "get_actor_bounding_box": Call(lambda actor: self._actor(actor).box(), 1),
            "get_spectator": Call(lambda: self._actor(SPECTATOR).packed(stream_port), 0),
            "set_actor_transform": Call(self._set_transform, 2, nothing),
            "set_actor_location": Call(self._set_location, 2, nothing),
            "set_actor_target_velocity": Call(self._set_velocity, 2, nothing),
            "set_actor_simulate_physics": Call(self._set_physics, 2, nothing),
            "apply_control_to_vehicle": Call(self._control, 2, nothing),
            "get_physics_control": Call(self._physics_control, 1),
            "get_wheel_steer_angle": Call(self._wheel_angle, 2),
            "get_weather_parameters": Call(lambda: list(episode.weather), 0),
            "set_weather_parameters": Call(episode.set_weather, 1, nothing),
            "get_all_level_BBs": Call(lambda _: [], 1),
            "apply_batch": Call(self._batch, 2, Answer.BARE),
        }

    def _actor(self, identity: Any) -> Actor:
        return self._episode.actors.get(identity)

    def _episode_info(self) -> list[Any]:
        return [self._episode.identity, [token(WORLD_STREAM, self._port)]]

    def _sensor_token(self, stream: Any) -> list[bytes]:
        streams = {actor.stream for actor in self._episode.actors if actor.stream}
        if stream not in streams | {WORLD_STREAM}:
            raise CallRefused(f"there is no sensor with stream {stream!r}")
        self._expect(stream)
        return [token(stream, self._port)]

    def _set_settings(self, value: Any) -> int:
        self._episode.settings = Settings.read(value)
        return self._episode.frame

    def _map_info(self) -> list[Any]:
        return [MAP_FOLDER + self._episode.map, [ORIGIN.packed()]]

    def _map_data(self) -> str:
        name = self._episode.map
        return opendrive(name, FAMILIES[MAPS[name]].lot)

    def _load_episode(self, name: Any, reset_settings: Any, _layers: Any) -> None:
        gone = [actor.stream for actor in self._episode.actors if actor.stream]
        self._episode.begin(str(name), bool(reset_settings))
        for stream in gone:
            self._drop(stream)

    def _definitions(self) -> list[Any]:
        return [blueprint.packed(number) for number, blueprint in enumerate(BLUEPRINTS, 1)]

    def _spawn(self, description: Any, transform: Any) -> list[Any]:
        return self._spawn_attached(description, transform, 0, 0, "")

    def _spawn_attached(
        self, description: Any, transform: Any, parent: Any, _attachment: Any, _bone: Any
    ) -> list[Any]:
        actor = self._episode.actors.spawn(description, Transform.read(transform), parent)
        try:
            _take_over(actor)
            if actor.kind in CAMERAS:
                self._episode.world.start_rendering()
        except (CallRefused, RuntimeError):
            self._episode.actors.destroy(actor.identity)
            raise
        if not actor.stream:
            self._episode.rebuild()
        return actor.packed(self._port)

    def _destroy(self, identity: Any) -> bool:
        gone = self._episode.actors.destroy(identity)
        for actor in gone:
            if actor.stream:
                self._drop(actor.stream)
            else:
                self._episode.rebuild()
        return bool(gone)

    def _actors_by_id(self, identities: Any) -> list[Any]:
        if not isinstance(identities, list):
            raise CallRefused(f"expected a list of actor ids, got {identities!r}")
        found = self._episode.actors.those_of(identities)
        return [actor.packed(self._port) for actor in found]

    def _set_transform(self, identity: Any, transform: Any) -> None:
        actor = self._actor(identity)
        actor.transform = Transform.read(transform)
        _take_over(actor)
        if not actor.stream and identity != SPECTATOR:
            self._episode.rebuild()

    def _set_location(self, identity: Any, location: Any) -> None:
        rotation = list(self._actor(identity).transform.rotation)
        self._set_transform(identity, [location, rotation])

    def _set_velocity(self, identity: Any, velocity: Any) -> None:
        self._actor(identity)
        if any(abs(float(value)) > 1e-6 for value in velocity):
            raise CallRefused("cars of this server start at rest")
        self._episode.rebuild()

    def _set_physics(self, identity: Any, enabled: Any) -> None:
        self._actor(identity).physics = bool(enabled)

    def _control(self, identity: Any, value: Any) -> None:
        try:
            throttle, steer, brake, hand_brake, reverse, manual, gear = value
            control = Control(
                _within(throttle, 0.0),
                _within(steer, -1.0),
                _within(brake, 0.0),
                bool(hand_brake),
                bool(reverse),
                bool(manual),
                int(gear),
            )
        except (TypeError, ValueError):
            raise CallRefused(f"expected a vehicle control, got {value!r}") from None
        self._episode.control(self._actor(identity), control)

    def _wheel_angle(self, identity: Any, wheel: Any) -> float:
        if not self._actor(identity).is_hero:
            return 0.0
        return self._episode.world.wheel_angle(int(wheel))

    def _physics_control(self, identity: Any) -> list[Any]:
        """`VehiclePhysicsControl`: what a client may want to know; gears and curves are flat."""
        actor = self._actor(identity)
        steering, radius = math.degrees(EGO.max_steering_angle), 100.0 * WHEEL_RADIUS
        locks = steering, steering, 0.0, 0.0
        wheels = [
            [3.5, 0.25, lock, radius, 1500.0, 3000.0, 2.0, 17.0, 1000.0, [*place, radius]]
            for lock, place in zip(locks, _wheel_places(actor), strict=True)
        ]
        mass = BODY_MASS + 4.0 * WHEEL_MASS
        flat = [[0.0, 1.0], [20.0, 1.0]]
        head = [flat, 6000.0, 1.0, 0.15, 2.0, 0.35, True, 0.5, 10.0, 4.0, [[1.0, 0.5, 0.65]]]
        return [*head, mass, 0.3, [0.0, 0.0, 0.0], flat, wheels, False]

    async def _batch(self, commands: Any, tick: Any) -> list[Any]:
        """Carry out commands in order; each is answered by the actor's id or an error."""
        if not (isinstance(commands, list) and len(commands) <= LARGEST_BATCH):
            raise CallRefused(f"a batch is a list of at most {LARGEST_BATCH} commands")
        answers = [self._command(command) for command in commands]
        frame = self._tick() if tick else None
        if inspect.isawaitable(frame):
            await frame
        return answers

    def _command(self, command: Any, spawned: int | None = None) -> Any:
        """One command's `Response<u32>`; `spawned` is the actor that a spawn's sequel is for."""
        try:
            index, fields = command[0]
            if index == SPAWN:
                return [[1, self._spawn_command(*fields)]]
            actor = fields[0] if spawned is None else spawned
            calls: dict[int, Callable[..., Any]] = {
                CONTROL: self._control,
                TRANSFORM: self._set_transform,
                PHYSICS: self._set_physics,
            }
            if index == DESTROY:
                if not self._destroy(actor):
                    raise CallRefused(f"unable to destroy actor {actor!r}: not found")
            elif index in calls:
                calls[index](actor, fields[1])
            else:
                raise CallRefused(f"this server does not carry out batch command {index}")
            return [[1, actor]]
        except CallRefused as error:
            return refused(Answer.VALUE, str(error))
        except (TypeError, ValueError, IndexError):
            return refused(Answer.VALUE, "malformed batch command")

    def _spawn_command(self, description: Any, transform: Any, parent: Any, *rest: Any) -> int:
        sequel = next((field for field in reversed(rest) if isinstance(field, list)), [])
        owner = parent[1] if isinstance(parent, list) and parent[0] else 0
        identity: int = self._spawn_attached(description, transform, owner, 0, "")[0]
        for command in sequel:
            self._command(command, identity)
        return identity


def _take_over(actor: Actor) -> None:
    """Read an actor's attributes, and refuse now those that could not be carried out at a tick."""
    if actor.kind in CAMERAS:
        actor.camera = camera_spec(actor)
    elif actor.kind == LOOKS:
        read_looks(actor.attributes["looks"])
    elif actor.is_vehicle:
        colour_of(actor)


def _wheel_places(actor: Actor) -> list[tuple[float, float]]:
    """x and y of a car's wheels in CARLA's world, cm: left and right in front, then behind."""
    x, y, _ = actor.transform.location
    middle = Pose(x, y, math.radians(actor.transform.rotation.yaw))
    rear = -EGO.center_offset
    places = [
        middle.transform(Pose(along, side * TRACK / 2.0, 0.0))
        for along in (rear + EGO.wheelbase, rear)
        for side in (-1.0, 1.0)
    ]
    return [(100.0 * place.x, 100.0 * place.y) for place in places]


def _within(value: Any, low: float) -> float:
    """A control's value held within [low, 1], as CARLA's vehicles do it."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"not finite: {value!r}")
    return min(max(number, low), 1.0)
