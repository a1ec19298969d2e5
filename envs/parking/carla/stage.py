"""A scenario's actors in CARLA's world: the ego car, parked cars, boxes, weather."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.appearance import Colour
from helmsight.envs.parking.carla.cameras import CameraMount
from helmsight.envs.parking.carla.connection import EGO_ROLE, OWN_ROLE, SynchronousWorld, destroy
from helmsight.envs.parking.carla.frame import WorldFrame
from helmsight.envs.parking.carla.weather import weather_parameters
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.vehicle import EGO

EGO_BLUEPRINT = "vehicle.lincoln.mkz_2017"
PARKED_BLUEPRINTS = ("vehicle.tesla.model3", "vehicle.audi.a2", "vehicle.lincoln.mkz_2017")
BOX_BLUEPRINTS = ("static.prop.box01", "static.prop.box02", "static.prop.box03")
# Only the protocol server has it; it carries what weather cannot say.
LOOKS_BLUEPRINT = "static.prop.helmsight_looks"
# Cars are put down from here and settle on their wheels for so many ticks.
DROP = 0.3
SETTLING_TICKS = 5


class Stage:
    """What was spawned for one scenario. The world must be ticked by its owner alone."""

    def __init__(self, server: SynchronousWorld) -> None:
        self._server = server
        self._carla = server.carla
        self._actors: list[Any] = []
        self.ego: Any = None

    def set(self, scenario: Scenario, frame: WorldFrame, ground: float) -> None:
        """Spawn a scenario and let it settle.

        Raises RuntimeError, naming the actor, for one that the server does not spawn.
        """
        world = self._server.world
        weather = weather_parameters(scenario.appearance)
        world.set_weather(self._carla.WeatherParameters(**weather))
        middle = scenario.start.transform(Pose(EGO.center_offset, 0.0, 0.0))
        library = world.get_blueprint_library()
        ego = _prepared(library.find(EGO_BLUEPRINT), role_name=EGO_ROLE, color="200,200,205")
        self.ego = world.try_spawn_actor(ego, self._transform(frame, middle, ground + DROP))
        if self.ego is None:
            raise RuntimeError(f"the CARLA server did not spawn the ego car at {middle}")
        self._actors.append(self.ego)
        self.ego.apply_control(self._carla.VehicleControl(hand_brake=True))
        parked = self._spawn_things(scenario, frame, ground, library)
        for _ in range(SETTLING_TICKS):
            self._server.tick()
        for car in parked:
            car.set_simulate_physics(False)

    def attach(self, kind: str, callback: Callable[[Any], None]) -> None:
        """A sensor on the ego car's rear axle; its data reach `callback` from the next tick on."""
        world = self._server.world
        blueprint = _prepared(world.get_blueprint_library().find(kind), role_name=OWN_ROLE)
        place = self._carla.Transform(self._carla.Location(self.rear_axle, 0.0, 0.0))
        sensor = world.spawn_actor(blueprint, place, attach_to=self.ego)
        self._actors.append(sensor)
        self._server.listen(sensor, callback)

    def mount(self, cameras: CameraMount) -> None:
        """Put a rig on the ego car; its images come with the next tick."""
        self._actors += cameras.spawn(self._server, self.ego, self.rear_axle)

    @property
    def rear_axle(self) -> float:
        """x of the rear axle in the ego actor's frame, metres.

        The body's middle is the bounding box's; the axle is where the task's car has it.
        """
        return float(self.ego.bounding_box.location.x) - EGO.center_offset

    def clear(self) -> None:
        """Destroy everything, sensors first."""
        self._server.silence()
        actors = sorted(self._actors, key=lambda actor: not actor.type_id.startswith("sensor."))
        self._actors, self.ego = [], None
        destroy(self._server.client, self._carla, actors)

    def _spawn_things(
        self, scenario: Scenario, frame: WorldFrame, ground: float, library: Any
    ) -> list[Any]:
        """Parked cars, boxes and looks in one batch; the parked cars."""
        command = self._carla.command
        named: list[str] = []
        batch: list[Any] = []
        for index, car in enumerate(scenario.cars):
            blueprint = _prepared(
                library.find(PARKED_BLUEPRINTS[index % len(PARKED_BLUEPRINTS)]),
                role_name=OWN_ROLE,
                color=_colour_text(car.colour),
            )
            place = self._transform(frame, car.pose, ground + DROP)
            batch.append(command.SpawnActor(blueprint, place))
            named.append(f"parked car {index}")
        for index, box in enumerate(scenario.boxes):
            blueprint = _prepared(
                library.find(BOX_BLUEPRINTS[index % len(BOX_BLUEPRINTS)]), role_name=OWN_ROLE
            )
            batch.append(command.SpawnActor(blueprint, self._transform(frame, box.pose, ground)))
            named.append(f"box {index}")
        if looks := library.filter(LOOKS_BLUEPRINT):
            from helmsight.envs.parking.carla_server.looks import looks_json

            blueprint = _prepared(looks[0], role_name=OWN_ROLE, looks=looks_json(scenario))
            batch.append(command.SpawnActor(blueprint, self._carla.Transform()))
            named.append("looks")
        answers = self._server.client.apply_batch_sync(batch, False)
        spawned = [answer.actor_id for answer in answers if not answer.has_error()]
        things = list(self._server.world.get_actors(spawned))
        self._actors.extend(things)
        for name, answer in zip(named, answers, strict=True):
            if answer.has_error():
                raise RuntimeError(f"the CARLA server did not spawn {name}: {answer.error}")
        return [thing for thing in things if thing.type_id.startswith("vehicle.")]

    def _transform(self, frame: WorldFrame, pose: Pose, height: float) -> Any:
        place = frame.to_world(pose)
        return self._carla.Transform(
            self._carla.Location(place.x, place.y, height), self._carla.Rotation(yaw=place.yaw)
        )


def _prepared(blueprint: Any, **values: str) -> Any:
    """A blueprint with those of the values that it has an attribute for."""
    for name, value in values.items():
        if blueprint.has_attribute(name):
            blueprint.set_attribute(name, value)
    return blueprint


def _colour_text(colour: Colour) -> str:
    return ",".join(str(min(max(round(255.0 * part), 0), 255)) for part in colour)


def bicycle_angle(front_left: float, track_share: float) -> float:
    """Steering angle of the equivalent bicycle, rad, positive to the left.

    front_left: CARLA's angle of that wheel in degrees, positive to the right. track_share: half the
    front wheels' distance over the wheelbase. The bicycle's cotangent is larger than the left
    wheel's by it (Ackermann). One wheel is enough, and each that is asked for is a call a tick.
    """
    tangent = math.tan(-math.radians(front_left))
    return math.atan(tangent / (1.0 + track_share * tangent))
