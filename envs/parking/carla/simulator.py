"""`CarlaParkingSimulator`: the parking world in CARLA behind the `ParkingSimulator` protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.carla.cameras import CameraMount
from helmsight.envs.parking.carla.connection import PROTOCOL_LABEL, SynchronousWorld, server_label
from helmsight.envs.parking.carla.frame import WorldFrame, WorldPose, along_body
from helmsight.envs.parking.carla.frames import CollisionLog, FrameBuffer
from helmsight.envs.parking.carla.lot_map import LotMap, load_lot_map
from helmsight.envs.parking.carla.stage import Stage, bicycle_angle
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.sensors import NoisySensors
from helmsight.envs.parking.simulator import (
    CameraFrames,
    SensorReading,
    VehicleCommand,
    VehicleState,
)
from helmsight.envs.parking.vehicle import EGO
from helmsight.envs.spec import CameraSpec

REAL_LOT = "town04_opt"
HOST, PORT, SECONDS = "127.0.0.1", 2000, 20.0


class CarlaParkingSimulator:
    """The parking lot of a CARLA 0.9.16 server, driven in synchronous mode at 10 Hz.

    host, port: of a server that nobody else drives. lot: a packaged lot's name or a JSON file
    (`lot_map`); None takes Town04_Opt, or on `helmsight carla serve` its own lots.
    seconds: how long an answer may take. image_seconds: how long an image may come after its tick.

    Truth comes from the server's snapshots, and the steering angle from a wheel's; acceleration and
    yaw rate of the sensors from CARLA's inertial unit. The noise is that of `NoisySensors`, as
    everywhere. Cameras are mounted at the first `render` and stay for the episodes after it; while
    there are any, every tick makes their images.
    """

    def __init__(
        self,
        host: str = HOST,
        port: int = PORT,
        lot: str | None = None,
        seconds: float = SECONDS,
        image_seconds: float = 5.0,
    ) -> None:
        self._lot = lot
        if lot is not None:
            load_lot_map(lot)  # Refuses a bad file before the server is asked for anything.
        self._image_seconds = image_seconds
        self._server = SynchronousWorld(host, port, seconds)
        self._stage = Stage(self._server)
        self._mount: CameraMount | None = None
        self._missed_before = 0
        self._scenario: Scenario | None = None
        self._closed = False

    @property
    def label(self) -> str:
        """What results over this server are called: "carla", or "carla-protocol (MuJoCo)"."""
        return self._server.label

    @property
    def missed_frames(self) -> int:
        """Images that did not come in time since the connection was made."""
        return self._missed_before + (self._mount.missed if self._mount else 0)

    def reset(self, scenario: Scenario) -> None:
        """Spawn a scenario, with the ego car at rest at its start; see `ParkingSimulator`.

        Raises ValueError for a scenario of another lot than the map's, ConnectionError where the
        server has gone, RuntimeError for an actor that it does not spawn.
        """
        self._refuse_if_closed()
        lot = self._lot_of(scenario)
        self._frame: WorldFrame = lot.frame(scenario)
        self._stage.clear()
        self._server.load(lot.map)
        self._scenario = scenario
        self._stage.set(scenario, self._frame, lot.ground)
        self._inertia, self._collisions = FrameBuffer(), CollisionLog()
        self._stage.attach("sensor.other.imu", self._inertia.put)
        self._stage.attach("sensor.other.collision", self._collisions.put)
        self._rear_axle = self._stage.rear_axle
        wheels = self._stage.ego.get_physics_control().wheels
        self._lock = _steering_scale(wheels)
        self._track_share = _track_share(wheels)
        if self._mount is not None:
            self._stage.mount(self._mount)
        self._steps = 0
        self._noise = NoisySensors(scenario.seed)
        self._tick()
        self._collisions.watch(self._snapshot.frame)
        self._reading = self._read()

    def step(self, command: VehicleCommand) -> None:
        """Drive for one control period, which is one tick."""
        self._loaded()
        control = self._server.carla.VehicleControl(
            throttle=max(command.acceleration, 0.0),
            brake=max(-command.acceleration, 0.0),
            steer=float(np.float32(-command.steer) * self._lock),
            reverse=command.reverse,
        )
        self._stage.ego.apply_control(control)
        self._steps += 1
        self._tick()
        self._reading = self._read()

    def vehicle_state(self) -> VehicleState:
        """True motion of the ego car at the last tick."""
        self._loaded()
        return self._state

    def sensors(self) -> SensorReading:
        """The sensors' reading of this control period; asking twice gives the same reading."""
        self._loaded()
        return self._reading

    def collision(self) -> str | None:
        """Kind of the first thing hit since `reset`, None while nothing was."""
        self._loaded()
        return self._collisions.hit

    def render(self, cameras: Sequence[CameraSpec], depth: bool) -> CameraFrames:
        """Images of the last tick.

        Raises RuntimeError for other cameras than before while an episode is under way: new ones
        need a tick, and that would move the car.
        """
        self._loaded()
        mount = self._mount
        if mount is None or mount.cameras != tuple(cameras) or (depth and not mount.depth):
            if self._steps:
                raise RuntimeError("CARLA can mount other cameras only before the car moves")
            self._remount(cameras, depth)
            self._tick()
        assert self._mount is not None
        frames = self._mount.frames(self._snapshot.frame, self._image_seconds)
        return frames if depth else CameraFrames(frames.colour, None)

    def close(self) -> None:
        """Destroy the actors and give the server its settings back. Twice is harmless."""
        self._closed = True
        self._server.leave()

    def _loaded(self) -> Scenario:
        self._refuse_if_closed()
        if self._scenario is None:
            raise RuntimeError("no scenario is loaded; call reset(scenario) first")
        return self._scenario

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this simulator is closed; make a new one")

    def _lot_of(self, scenario: Scenario) -> LotMap:
        if self._lot is not None:
            return load_lot_map(self._lot)
        served = self.label == PROTOCOL_LABEL
        return load_lot_map(f"helmsight_{scenario.family}" if served else REAL_LOT)

    def _remount(self, cameras: Sequence[CameraSpec], depth: bool) -> None:
        """Other cameras than before; those go with the episode's other actors."""
        if self._mount is not None:
            self._missed_before += self._mount.missed
        self._mount = CameraMount(cameras, depth)
        self._stage.mount(self._mount)

    def _tick(self) -> None:
        self._snapshot: Any = self._server.tick()
        ego = self._snapshot.find(self._stage.ego.id)
        if ego is None:
            raise ConnectionError("the ego car has gone from the CARLA server's world")
        if self._mount is not None:
            self._mount.catch_up()
        front_left = self._server.carla.VehicleWheelLocation.FL_Wheel
        angle = self._stage.ego.get_wheel_steer_angle(front_left)
        self._state = self._state_of(ego, bicycle_angle(angle, self._track_share))

    def _state_of(self, ego: Any, steering_angle: float) -> VehicleState:
        transform, velocity = ego.get_transform(), ego.get_velocity()
        acceleration = ego.get_acceleration()
        yaw = transform.rotation.yaw
        place = WorldPose(transform.location.x, transform.location.y, yaw)
        axle = Pose(self._rear_axle, 0.0, 0.0)
        speed, _ = along_body((velocity.x, velocity.y), yaw)
        return VehicleState(
            pose=self._frame.to_lot(place).transform(axle),
            speed=speed,
            yaw_rate=-math.radians(ego.get_angular_velocity().z),
            acceleration=along_body((acceleration.x, acceleration.y), yaw),
            steering_angle=steering_angle,
        )

    def _read(self) -> SensorReading:
        """The sensors now; where the inertial unit's message is late, the snapshot stands in."""
        measured = self._state
        inertia = self._inertia.take(self._snapshot.frame, self._image_seconds)
        if inertia is not None:
            measured = measured._replace(
                acceleration=(inertia.accelerometer.x, -inertia.accelerometer.y),
                yaw_rate=-inertia.gyroscope.z,
            )
        return self._noise.read(measured)


def _steering_scale(wheels: Sequence[Any]) -> np.float32:
    """CARLA's steer value at which its wheels turn as far as the task's car at full lock."""
    lock = np.float32(max(wheel.max_steer_angle for wheel in wheels))
    ours = np.float32(math.degrees(EGO.max_steering_angle))
    if not lock >= ours * np.float32(0.999):
        raise RuntimeError(f"the ego car steers {lock} degrees at most; {ours} are wanted")
    return np.float32(ours / lock)


def _track_share(wheels: Sequence[Any]) -> float:
    """Half the front wheels' distance over the wheelbase, from CARLA's places of the wheels."""
    front_left, front_right, rear_left = (wheel.position for wheel in wheels[:3])
    wheelbase = front_left.distance(rear_left)
    if not wheelbase > 0.0:
        raise RuntimeError("the CARLA server does not say where the ego car's wheels are")
    return float(front_left.distance(front_right) / (2.0 * wheelbase))


def label_of(host: str = HOST, port: int = PORT, seconds: float = SECONDS, **_options: Any) -> str:
    """What results over a server are called, given a simulator's options; it is only asked."""
    return server_label(host, port, seconds)
