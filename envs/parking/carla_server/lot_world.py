"""The MuJoCo lot that the server's actors live on: actors in, motion and pictures out."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import NamedTuple

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.appearance import Colour
from helmsight.envs.parking.carla.frame import WorldFrame, WorldPose, from_body
from helmsight.envs.parking.carla_server.actors import Actor, Actors, looks_of
from helmsight.envs.parking.carla_server.looks import Looks, appearance_of_weather, read_looks
from helmsight.envs.parking.carla_server.wire import CallRefused, Location, Rotation, Transform
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.mujoco.model import wheel_angles
from helmsight.envs.parking.scenario import FAMILIES, Box, ParkedCar, Scenario
from helmsight.envs.parking.simulator import CameraFrames, VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import EGO
from helmsight.envs.spec import CameraSpec

MAPS = {f"Helmsight_{name}": name for name in FAMILIES}
# The lot's frame is the world's but for its handedness.
FRAME = WorldFrame(0.0, 0.0, 0.0)
BODY_MIDDLE = Pose(EGO.center_offset, 0.0, 0.0)
BOX_COLOUR: Colour = (0.62, 0.47, 0.30)


class Control(NamedTuple):
    """A vehicle's control as CARLA has it: steer is positive to the right."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    manual_gear: bool = False
    gear: int = 0

    def command(self) -> VehicleCommand:
        """What the parking car gets; brakes win over the throttle."""
        brake = 1.0 if self.hand_brake else self.brake
        acceleration = -brake if brake > 0.0 else self.throttle
        return VehicleCommand(acceleration, -self.steer, self.reverse)


class Motion(NamedTuple):
    """The hero's motion in CARLA's world: m/s, degrees/s, m/s^2."""

    velocity: tuple[float, float, float]
    angular_velocity: tuple[float, float, float]
    acceleration: tuple[float, float, float]


class LotWorld:
    """Physics and pictures of one lot.

    The car rests where it was spawned until a control without the hand brake arrives: ticks before
    that only show the world.
    """

    def __init__(self) -> None:
        self._simulator = MujocoParkingSimulator()
        self._loaded = False
        self._driving = False

    def load(self, family: str, actors: Actors, weather: Sequence[float]) -> None:
        """Build the world of the actors, with the hero at rest; nothing drives without one."""
        hero = actors.hero
        self._driving = False
        self._loaded = hero is not None
        if hero is not None:
            self.scenario = _scenario(family, hero, actors, weather)
            self._simulator.reset(self.scenario)

    @property
    def loaded(self) -> bool:
        return self._loaded

    @property
    def state(self) -> VehicleState:
        return self._simulator.vehicle_state()

    def drive(self, control: Control) -> None:
        """One control period, unless the car still rests."""
        self._driving = self._driving or not control.hand_brake
        if self._loaded and self._driving:
            self._simulator.step(control.command())

    def hero_transform(self, height: float) -> Transform:
        """Where the hero's origin, the middle of its body, is in CARLA's world."""
        place = FRAME.to_world(self.state.pose.transform(BODY_MIDDLE))
        return Transform(Location(place.x, place.y, height), Rotation(0.0, place.yaw, 0.0))

    def hero_motion(self, yaw: float) -> Motion:
        """The hero's motion at its origin; yaw is its heading in degrees."""
        state = self.state
        # The middle of the body swings about the rear axle.
        velocity = from_body(state.speed, state.yaw_rate * EGO.center_offset, yaw)
        acceleration = from_body(*state.acceleration, yaw)
        turning = -math.degrees(state.yaw_rate)
        return Motion((*velocity, 0.0), (0.0, 0.0, turning), (*acceleration, 0.0))

    def wheel_angle(self, wheel: int) -> float:
        """Steering angle of a wheel in degrees, positive to the right: front left, front right."""
        angles = wheel_angles(self.state.steering_angle) if self._loaded else (0.0, 0.0)
        return -math.degrees(angles[wheel]) if wheel in (0, 1) else 0.0

    def collision(self) -> str | None:
        """Kind of the first thing that the hero hit."""
        return self._simulator.collision() if self._loaded else None

    def start_rendering(self) -> None:
        """Start OpenGL; RuntimeError, saying what is missing, where it cannot be."""
        self._simulator.start_rendering()

    def render_in_parts(
        self, cameras: Sequence[CameraSpec], depth: bool
    ) -> Generator[None, None, CameraFrames]:
        """Pictures now; see `MujocoParkingSimulator.render_in_parts`."""
        return self._simulator.render_in_parts(cameras, depth)

    def close(self) -> None:
        self._simulator.close()


def lot_pose(transform: Transform) -> Pose:
    """An actor's pose in the lot frame."""
    x, y, _ = transform.location
    return FRAME.to_lot(WorldPose(x, y, transform.rotation.yaw))


def _scenario(family: str, hero: Actor, actors: Actors, weather: Sequence[float]) -> Scenario:
    """The actors as a scenario. Its target slot and index mean nothing here."""
    kind = FAMILIES[family]
    text = looks_of(actors)
    looks = read_looks(text) if text else Looks(appearance_of_weather(weather), 0, (), ())
    cars = [actor for actor in actors.vehicles() if not actor.is_hero]
    boxes = [actor for actor in actors if actor.is_box]
    # Colours of the looks are exact; attributes have whole levels, and boxes have none.
    car_colours = looks.cars if len(looks.cars) == len(cars) else tuple(map(colour_of, cars))
    box_colours = looks.boxes if len(looks.boxes) == len(boxes) else (BOX_COLOUR,) * len(boxes)
    start = lot_pose(hero.transform).transform(Pose(-EGO.center_offset, 0.0, 0.0))
    return Scenario(
        family=family,
        split="train",
        index=0,
        approach="reverse",
        lot=kind.lot,
        target_slot=kind.lot.slot(1, 0),
        start=start,
        cars=tuple(
            ParkedCar(lot_pose(car.transform), colour)
            for car, colour in zip(cars, car_colours, strict=True)
        ),
        boxes=tuple(
            Box(lot_pose(box.transform), colour)
            for box, colour in zip(boxes, box_colours, strict=True)
        ),
        appearance=looks.appearance,
        time_limit=kind.time_limit,
        seed=looks.seed,
    )


def colour_of(car: Actor) -> Colour:
    """A parked car's colour; CallRefused for an attribute that is none."""
    try:
        red, green, blue = (int(part) / 255.0 for part in car.attributes["color"].split(","))
    except ValueError:
        raise CallRefused(f"expected a colour as R,G,B, got {car.attributes['color']!r}") from None
    return red, green, blue
