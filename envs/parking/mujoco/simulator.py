"""`MujocoParkingSimulator`: the parking world in MuJoCo behind the `ParkingSimulator` protocol."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import mujoco

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.model import (
    TIMESTEP,
    Indices,
    build_model,
)
from helmsight.envs.parking.mujoco.obstacles import check_room, place_obstacles
from helmsight.envs.parking.mujoco.renderer import TiledRenderer
from helmsight.envs.parking.mujoco.vehicle_dynamics import STEPS_A_CHECK, Drivetrain, read_state
from helmsight.envs.parking.scenario import Scenario
from helmsight.envs.parking.sensors import NoisySensors
from helmsight.envs.parking.simulator import (
    CameraFrames,
    SensorReading,
    VehicleCommand,
    VehicleState,
)
from helmsight.envs.parking.vehicle import CONTROL_PERIOD
from helmsight.envs.spec import CameraSpec

CHECKS_A_PERIOD = round(CONTROL_PERIOD / (TIMESTEP * STEPS_A_CHECK))
WHEEL_CONTACTS = 4
# Of several things hit at once, the first of these is named.
GRAVITY = ("car", "box", "post", "barrier", "kerb")


@dataclass(frozen=True)
class World:
    """One lot's compiled physics and the height at which its ego car stands at rest."""

    model: mujoco.MjModel
    data: mujoco.MjData
    indices: Indices
    drivetrain: Drivetrain
    rest_height: float


class MujocoParkingSimulator:
    """The parking world of a scenario, driven at 10 Hz. See `ParkingSimulator`.

    The physics of a lot is compiled once and reused by all scenarios on it. Making pictures needs
    OpenGL; its context is made at the first `render`, so that driving alone needs none.

    render: False refuses `render`, for uses that must never pay for pictures.
    """

    def __init__(self, render: bool = True) -> None:
        self._rendering = render
        self._worlds: dict[Lot, World] = {}
        self._world: World | None = None
        self._renderer: TiledRenderer | None = None
        # Whether the renderer wears the scenario's looks yet: only who looks pays for them.
        self._dressed = False
        self._closed = False

    def reset(self, scenario: Scenario) -> None:
        """Load a scenario: its obstacles in place, the ego car at rest at `scenario.start`.

        Raises ValueError for more cars or boxes than the model holds.
        """
        self._refuse_if_closed()
        check_room(scenario)
        if scenario.lot not in self._worlds:
            self._worlds[scenario.lot] = _build_world(scenario.lot)
        world = self._world = self._worlds[scenario.lot]
        self._scenario = scenario
        self._dressed = False
        mujoco.mj_resetData(world.model, world.data)
        world.drivetrain.release()
        place_obstacles(world.data, scenario)
        _place_ego(world, scenario)
        mujoco.mj_forward(world.model, world.data)
        self._hit: str | None = None
        self._look_for_collisions()
        self._steps = 0
        self._state = read_state(world.data, world.indices, (0.0, 0.0))
        self._sensors = NoisySensors(scenario.seed)
        self._reading = self._sensors.read(self._state)

    def step(self, command: VehicleCommand) -> None:
        """Drive for one control period (0.1 s)."""
        world = self._loaded()
        before = float(world.data.qvel[0]), float(world.data.qvel[1])
        world.drivetrain.command(command)
        for _ in range(CHECKS_A_PERIOD):
            world.drivetrain.steer(command.steer)
            mujoco.mj_step(world.model, world.data, nstep=STEPS_A_CHECK)
            self._look_for_collisions()
        self._steps += 1
        self._state = read_state(world.data, world.indices, before)
        self._reading = self._sensors.read(self._state)

    def vehicle_state(self) -> VehicleState:
        """True motion of the ego car now."""
        self._loaded()
        return self._state

    def sensors(self) -> SensorReading:
        """The sensors' reading of this control period; asking twice gives the same reading."""
        self._loaded()
        return self._reading

    def collision(self) -> str | None:
        """Kind of the first thing hit since `reset`, None while nothing was."""
        self._loaded()
        return self._hit

    def render(self, cameras: Sequence[CameraSpec], depth: bool) -> CameraFrames:
        """Images of all cameras now; see `ParkingSimulator.render`."""
        parts = self.render_in_parts(cameras, depth)
        while True:
            try:
                next(parts)
            except StopIteration as finished:
                frames: CameraFrames = finished.value
                return frames

    def render_in_parts(
        self, cameras: Sequence[CameraSpec], depth: bool
    ) -> Generator[None, None, CameraFrames]:
        """Images as `render` makes them, a part of the drawing at a time.

        It stops between the parts for a caller that has other things to do. The world must not be
        moved before it has finished.
        """
        self._loaded()
        renderer = self.start_rendering()
        if not self._dressed:
            renderer.load(self._scenario)
            self._dressed = True
        return (yield from renderer.render_in_parts(self._state.pose, cameras, depth, self._steps))

    def start_rendering(self) -> TiledRenderer:
        """Start OpenGL, which the first `render` does otherwise.

        Raises RuntimeError, saying what to install, where it cannot be started.
        """
        self._refuse_if_closed()
        if not self._rendering:
            raise RuntimeError("this simulator was made with render=False")
        if self._renderer is None:
            self._renderer = TiledRenderer()
        return self._renderer

    def close(self) -> None:
        """Free the physics and the OpenGL context. Closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._closed = True
        self._world = None
        self._worlds.clear()

    def _loaded(self) -> World:
        self._refuse_if_closed()
        if self._world is None:
            raise RuntimeError("no scenario is loaded; call reset(scenario) first")
        return self._world

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this simulator is closed; make a new one")

    def _look_for_collisions(self) -> None:
        """Remember the first thing that the ego car touches besides the ground."""
        world = self._loaded()
        if self._hit is not None or world.data.ncon <= WHEEL_CONTACTS:
            return
        kinds = world.indices.kinds
        found = {kinds[first] or kinds[second] for first, second in world.data.contact.geom}
        self._hit = next((kind for kind in GRAVITY if kind in found), None)


def _build_world(lot: Lot) -> World:
    model, indices = build_model(lot)
    data = mujoco.MjData(model)
    drivetrain = Drivetrain(model, data, indices)
    drivetrain.release()
    # The tyres sink into the ground by fractions of a millimetre; start there and not in a bounce.
    mujoco.mj_step(model, data, nstep=200)
    return World(model, data, indices, drivetrain, float(data.qpos[2]))


def _place_ego(world: World, scenario: Scenario) -> None:
    start = scenario.start
    half = start.yaw / 2.0
    world.data.qpos[0:7] = (
        start.x,
        start.y,
        world.rest_height,
        math.cos(half),
        0.0,
        0.0,
        math.sin(half),
    )
