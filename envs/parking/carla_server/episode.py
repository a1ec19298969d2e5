"""An episode of the server: settings, actors, weather, time, and the tick that moves them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from helmsight.envs.parking.carla_server import streams
from helmsight.envs.parking.carla_server.actors import Actor, Actors
from helmsight.envs.parking.carla_server.looks import CLEAR_NOON, WEATHER_FIELDS
from helmsight.envs.parking.carla_server.lot_world import MAPS, Control, LotWorld
from helmsight.envs.parking.carla_server.sensors import Message, SensorReadings
from helmsight.envs.parking.carla_server.streams import ActorState, Moment
from helmsight.envs.parking.carla_server.wire import ORIGIN, CallRefused, optional
from helmsight.envs.parking.vehicle import CONTROL_PERIOD

WORLD_STREAM = 1
TOLERANCE = 1e-6
Publish = Callable[[int, bytes], None]


@dataclass
class Settings:
    """What `carla.WorldSettings` holds, in the wire's order."""

    synchronous: bool = False
    no_rendering: bool = False
    fixed_delta: float | None = None
    substepping: bool = True
    max_substep: float = 0.01
    max_substeps: int = 10
    max_culling_distance: float = 0.0
    deterministic_ragdolls: bool = False
    tile_stream_distance: float = 3000.0
    actor_active_distance: float = 2000.0
    spectator_as_ego: bool = True

    @classmethod
    def read(cls, value: Any) -> Settings:
        """From the wire.

        Raises CallRefused for another shape, and for a period other than the lot's 0.1 s.
        """
        try:
            sync, no_render, delta, *rest = value
            fixed = float(delta[1]) if delta[0] else None
            settings = cls(bool(sync), bool(no_render), fixed, *rest)
        except (TypeError, ValueError, IndexError):
            raise CallRefused(f"expected 11 episode settings, got {value!r}") from None
        if fixed is not None and fixed != 0.0 and abs(fixed - CONTROL_PERIOD) > TOLERANCE:
            raise CallRefused(f"this server drives {CONTROL_PERIOD} s a tick, not {fixed} s")
        return settings

    def packed(self) -> list[Any]:
        """For the wire."""
        values = list(vars(self).values())
        values[2] = optional(self.fixed_delta)
        return values


class Episode:
    """The world behind the server. `publish` sends a payload to the subscribers of a stream."""

    def __init__(self, publish: Publish, port: int) -> None:
        self._publish = publish
        self._port = port
        self.identity = 1
        self.actors = Actors()
        self.settings = Settings()
        self.weather: Sequence[float] = CLEAR_NOON
        self.map = next(iter(MAPS))
        self.frame = 0
        self._time = 0.0
        self._controls: dict[int, Control] = {}
        self._world = LotWorld()
        self._changed = True
        self._map_changed = False
        self._collided = False
        self._still = b""

    @property
    def world(self) -> LotWorld:
        return self._world

    def control_of(self, actor: Actor) -> Control:
        """The last control that a vehicle got."""
        return self._controls.get(actor.identity, Control(hand_brake=True))

    def begin(self, name: str, reset_settings: bool) -> None:
        """A new episode on a map ("" for the same one); CallRefused for a map there is not."""
        wanted = name.rpartition("/")[2] or self.map
        if wanted not in MAPS:
            raise CallRefused(f"map {name!r} not found; this server has {', '.join(MAPS)}")
        self._map_changed = wanted != self.map
        self.map = wanted
        self.identity += 1
        self.actors.clear()
        self._controls.clear()
        self._changed = True
        if reset_settings:
            self.settings = Settings()

    def rebuild(self) -> None:
        """The actors have changed: the next tick begins with the hero at rest where it was put."""
        self._changed = True

    def set_weather(self, values: Any) -> None:
        """Take over the weather; it shows when actors are next put up."""
        if not (isinstance(values, list) and len(values) == WEATHER_FIELDS):
            raise CallRefused(f"expected {WEATHER_FIELDS} weather parameters, got {values!r}")
        self.weather = tuple(float(value) for value in values)

    def control(self, actor: Actor, control: Control) -> None:
        """Hold a control until the next one comes."""
        if not actor.is_vehicle:
            raise CallRefused(f"actor {actor.identity} is no vehicle")
        self._controls[actor.identity] = control

    def tick(self, listening: Callable[[], Sequence[int]]) -> Iterator[Message | None]:
        """Drive for one control period and publish what came of it, but for the sensors' messages.

        listening: the streams that have subscribers. Those messages are made as they are asked for,
        see `SensorReadings.messages`; all of them before the next tick.
        """
        if self._changed:
            self._world.load(MAPS[self.map], self.actors, self.weather)
            self._changed = self._collided = False
            self._still = self._standing()
        self._drive()
        self.frame += 1
        self._time += CONTROL_PERIOD
        moment = Moment(self.frame, self._time)
        readings = SensorReadings(self._world, self.actors, moment)
        wanted = set(listening())
        sensors = [actor for actor in self.actors if actor.stream in wanted and actor.stream]
        if not self._collided:
            for stream, payload in readings.collisions(sensors, self._port):
                self._collided = True
                self._publish(stream, payload)
        self._publish(WORLD_STREAM, self._state(moment))
        self._map_changed = False
        return iter(()) if self.settings.no_rendering else readings.messages(sensors)

    def close(self) -> None:
        """Free the world behind the server."""
        self._world.close()

    def _drive(self) -> None:
        hero = self.actors.hero
        if hero is None or not self._world.loaded:
            return
        self._world.drive(self.control_of(hero))
        hero.transform = self._world.hero_transform(hero.transform.location.z)

    def _standing(self) -> bytes:
        """The records of all actors that do not move; they hold until actors are changed."""
        still = (actor for actor in self.actors if not actor.moves)
        return b"".join(self._actor_state(actor) for actor in still)

    def _state(self, moment: Moment) -> bytes:
        moving = (actor for actor in self.actors if actor.moves)
        records = self._still + b"".join(self._actor_state(actor) for actor in moving)
        head = streams.header(streams.WORLD_STATE, moment, ORIGIN)
        return streams.world_state(
            head, self.identity, moment.time, CONTROL_PERIOD, self._map_changed, records
        )

    def _actor_state(self, actor: Actor) -> bytes:
        transform = self.actors.world_transform(actor)
        if not (actor.is_hero and self._world.loaded):
            return streams.resting_state(actor.identity, transform)
        control = self.control_of(actor)
        motion = self._world.hero_motion(transform.rotation.yaw)
        state = ActorState(
            actor.identity,
            transform,
            motion.velocity,
            motion.angular_velocity,
            motion.acceleration,
            (control.throttle, control.steer, control.brake),
            (control.hand_brake, control.reverse, control.manual_gear),
            -1 if control.reverse else 1,
        )
        return streams.actor_state(state)
