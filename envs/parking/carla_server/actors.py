"""The actors of an episode: what was spawned, where it is, and what it may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.carla_server.blueprints import (
    BLUEPRINTS,
    BOXES,
    BY_NAME,
    HEROES,
    LOOKS,
    Blueprint,
)
from helmsight.envs.parking.carla_server.wire import (
    ORIGIN,
    CallRefused,
    Location,
    Rotation,
    Transform,
    bounding_box,
    token,
)
from helmsight.envs.parking.mujoco.obstacles import MAX_BOXES, MAX_CARS
from helmsight.envs.parking.scenario import (
    BOX_HEIGHT,
    BOX_LENGTH,
    BOX_WIDTH,
    CAR_LENGTH,
    CAR_WIDTH,
)
from helmsight.envs.parking.vehicle import EGO
from helmsight.envs.spec import CameraSpec

CAR_HEIGHT = 1.45
CAR_TAG, PROP_TAG = 14, 20
SPECTATOR = 1
FIRST_ACTOR = 100
MOST_ACTORS = 200


@dataclass
class Actor:
    """One actor. `transform` is relative to the parent for what is attached to one.

    stream: id of a sensor's stream, 0 for other actors. physics: whether it was left on.
    camera: what a camera's attributes and mount come to. placed: see `Actors.world_transform`.
    """

    identity: int
    description: list[Any]
    transform: Transform
    parent: int = 0
    stream: int = 0
    physics: bool = True
    attributes: dict[str, str] = field(default_factory=dict)
    camera: CameraSpec | None = None
    placed: _Placed | None = None

    @cached_property
    def kind(self) -> str:
        return str(self.description[1])

    @cached_property
    def is_vehicle(self) -> bool:
        return self.kind.startswith("vehicle.")

    @cached_property
    def is_hero(self) -> bool:
        """Whether it is the car that drives; every other vehicle stands."""
        return self.is_vehicle and self.attributes.get("role_name") in HEROES

    @cached_property
    def moves(self) -> bool:
        """Whether it may be elsewhere at the next tick though nobody put it there."""
        return self.is_hero or self.parent != 0 or self.identity == SPECTATOR

    @cached_property
    def is_box(self) -> bool:
        return self.kind in BOXES

    def size(self) -> tuple[float, float, float]:
        """Length, width and height in metres; zero for what has no body."""
        if self.is_hero:
            return EGO.length, EGO.width, EGO.height
        if self.is_vehicle:
            return CAR_LENGTH, CAR_WIDTH, CAR_HEIGHT
        return (BOX_LENGTH, BOX_WIDTH, BOX_HEIGHT) if self.is_box else (0.0, 0.0, 0.0)

    def footprint(self) -> Rectangle:
        """Plan of the body. Angles are CARLA's, turned as one: overlaps are what they are."""
        length, width, _ = self.size()
        x, y, _ = self.transform.location
        return Rectangle(Pose(x, y, self.transform.rotation.yaw * math.pi / 180.0), length, width)

    def box(self) -> list[Any]:
        """`BoundingBox` for the wire: the origin is on the ground below the body's middle."""
        length, width, height = self.size()
        half = height / 2.0
        return bounding_box((0.0, 0.0, half), (length / 2.0, width / 2.0, half), self.identity)

    def packed(self, port: int) -> list[Any]:
        """`Actor` for the wire; `port` is where its stream can be had."""
        tags = bytes([CAR_TAG]) if self.is_vehicle else bytes([PROP_TAG]) if self.is_box else b""
        stream = token(self.stream, port) if self.stream else b""
        return [self.identity, self.parent, self.description, self.box(), tags, stream]


class Actors:
    """All actors of an episode by id. Ids are never given twice while the server runs."""

    def __init__(self) -> None:
        self._next = FIRST_ACTOR
        self._actors: dict[int, Actor] = {}
        self.clear()

    def clear(self) -> None:
        """Begin an episode: nobody is there but the spectator."""
        self._actors.clear()
        self._actors[SPECTATOR] = Actor(SPECTATOR, [0, "spectator", []], ORIGIN)

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors.values())

    def get(self, identity: Any) -> Actor:
        """An actor; CallRefused for an id that there is not."""
        actor = self._actors.get(identity) if isinstance(identity, int) else None
        if actor is None:
            raise CallRefused(f"unable to find actor {identity!r}: actor not found")
        return actor

    def those_of(self, identities: Sequence[int]) -> list[Actor]:
        """The actors with these ids; those that are gone are left out."""
        return [self._actors[identity] for identity in identities if identity in self._actors]

    @property
    def hero(self) -> Actor | None:
        return next((actor for actor in self if actor.is_hero), None)

    def vehicles(self) -> list[Actor]:
        return [actor for actor in self if actor.is_vehicle]

    def spawn(self, description: Any, transform: Transform, parent: int = 0) -> Actor:
        """A new actor.

        Raises CallRefused for an unknown blueprint or attribute, a place that is taken, a second
        hero, and a sensor that is attached to anything but the hero.
        """
        if len(self._actors) >= MOST_ACTORS:
            raise CallRefused(f"this server holds at most {MOST_ACTORS} actors")
        number, blueprint, attributes = _read_description(description)
        values = [[name, kind, value] for name, (kind, value) in attributes.items()]
        actor = Actor(
            self._next,
            [number, blueprint.name, values],
            transform,
            parent,
            attributes={name: value for name, (_, value) in attributes.items()},
        )
        if blueprint.name.startswith("sensor."):
            owner = self._actors.get(parent)
            if owner is None or not owner.is_hero:
                raise CallRefused("sensors of this server are attached to the hero vehicle")
            actor.stream = actor.identity
        elif parent:
            raise CallRefused(f"{blueprint.name} cannot be attached to an actor")
        self._refuse_too_many(actor)
        self._refuse_taken_place(actor)
        self._next += 1
        self._actors[actor.identity] = actor
        return actor

    def destroy(self, identity: int) -> list[Actor]:
        """Remove an actor and what is attached to it; the removed ones, none for an unknown id."""
        if identity == SPECTATOR or identity not in self._actors:
            return []
        attached = [actor.identity for actor in self if actor.parent == identity]
        return [self._actors.pop(gone) for gone in (*attached, identity)]

    def _refuse_too_many(self, actor: Actor) -> None:
        parked = sum(other.is_vehicle and not other.is_hero for other in self)
        boxes = sum(other.is_box for other in self)
        if actor.is_hero and self.hero is not None:
            raise CallRefused("there is a hero vehicle already; this server drives one")
        if actor.is_vehicle and not actor.is_hero and parked >= MAX_CARS:
            raise CallRefused(f"this server holds at most {MAX_CARS} parked cars")
        if actor.is_box and boxes >= MAX_BOXES:
            raise CallRefused(f"this server holds at most {MAX_BOXES} boxes")

    def _refuse_taken_place(self, actor: Actor) -> None:
        if not (actor.is_vehicle or actor.is_box):
            return
        plan = actor.footprint()
        for other in self:
            if (other.is_vehicle or other.is_box) and plan.overlaps(other.footprint()):
                raise CallRefused("Spawn failed because of collision at spawn position")

    def world_transform(self, actor: Actor) -> Transform:
        """Where an actor is in the world; parents stand level on the ground.

        Asked for the world's state and for each message again, and worked out once a tick.
        """
        if not actor.parent:
            return actor.transform
        base, own = self.get(actor.parent).transform, actor.transform
        placed = actor.placed
        if placed is None or placed.base is not base or placed.own is not own:
            placed = actor.placed = _Placed(base, own, _on(base, own))
        return placed.world


class _Placed(NamedTuple):
    """Where an attached actor is in the world, and what that was worked out from."""

    base: Transform
    own: Transform
    world: Transform


def _on(base: Transform, own: Transform) -> Transform:
    """In the world, what is at `own` on something that stands level at `base`."""
    frame = Pose(base.location.x, base.location.y, base.rotation.yaw * math.pi / 180.0)
    place = frame.transform(Pose(own.location.x, own.location.y, 0.0))
    location = Location(place.x, place.y, base.location.z + own.location.z)
    pitch, yaw, roll = own.rotation
    return Transform(location, Rotation(pitch, base.rotation.yaw + yaw, roll))


def _read_description(
    description: Any,
) -> tuple[int, Blueprint, dict[str, tuple[int, str]]]:
    """Number, blueprint and attributes by name, (type, value), checked against the blueprint."""
    try:
        number, name, values = description
        given = {str(key): (int(kind), str(value)) for key, kind, value in values}
    except (TypeError, ValueError):
        raise CallRefused(f"expected an actor description, got {description!r}") from None
    if name not in BY_NAME or not (isinstance(number, int) and 0 < number <= len(BLUEPRINTS)):
        raise CallRefused(f"unknown blueprint {name!r} (number {number!r})")
    blueprint = BY_NAME[name]
    defaults = {entry.name: (entry.kind, entry.value) for entry in blueprint.attributes}
    unknown = sorted(given.keys() - defaults.keys())
    if unknown:
        raise CallRefused(f"blueprint {name} has no attribute {', '.join(unknown)}")
    return number, blueprint, {**defaults, **given}


def looks_of(actors: Actors) -> str | None:
    """The JSON that the looks prop carries, None where nobody spawned one."""
    return next((a.attributes["looks"] for a in actors if a.kind == LOOKS), None)
