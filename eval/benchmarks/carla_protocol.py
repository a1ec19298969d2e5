"""The CARLA backend over the protocol server against the native simulator, tick by tick.

Both drive the same scenarios with the same commands. Camera noise is a function of the scenario and
the tick, so a picture of a wrong tick differs from the native one in nearly every pixel.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.envs.parking.carla.connection import EGO_ROLE, OWN_ROLE, carla_module
from helmsight.envs.parking.carla.simulator import CarlaParkingSimulator
from helmsight.envs.parking.carla_server.process import ServerProcess
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.scenario import Scenario, make_scenario
from helmsight.envs.parking.simulator import CameraFrames, ParkingSimulator, VehicleCommand
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.envs.spec import CameraSpec
from helmsight.eval.benchmarks.isolation import held_to, usable_cores
from helmsight.eval.benchmarks.measurement import Report

# Mean difference in grey levels: 8-bit car colours and rounded poses make some hundredths, the
# noise of another tick more than half of its deviation, which is 1 at the least.
SAME_PICTURE = 0.4
SEED = 20_260_102


@dataclass
class Comparison:
    """What many short episodes over the protocol gave.

    different_pictures: ticks whose pictures were not the native simulator's. missed_images: those
    that did not come in time. farthest: between the two cars, metres. tick_ms: medians of driving
    one tick and looking through all cameras, served and native, and their ratio. server_memory,
    client_memory: MiB after a tenth of the episodes and at the end.
    """

    episodes: int = 0
    ticks: int = 0
    different_pictures: int = 0
    missed_images: int = 0
    leaked_actors: int = 0
    farthest: float = 0.0
    tick_ms: dict[str, float] = field(default_factory=dict)
    server_memory: list[float] = field(default_factory=list)
    client_memory: list[float] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every picture belonged to its tick and nothing was left behind."""
        return not (self.different_pictures or self.missed_images or self.leaked_actors)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {"label": "carla-protocol (MuJoCo)", "clean": self.clean, **asdict(self)}


def compare_with_native(
    episodes: int, ticks: int, rig: str, image_size: int, report: Report
) -> Comparison:
    """Drive `episodes` scenarios of both families for `ticks` each, served and natively.

    The server has a core of its own: where there are just two, some schedulers put it now and then
    on the one that the client is on. Raises RuntimeError without the `carla` package.
    """
    carla_module()
    cameras = parking_embodiment(rig, image_size).cameras
    found, times = Comparison(), _Times()
    native = MujocoParkingSimulator()
    of_server = frozenset(sorted(usable_cores())[1:][-1:])  # none where there is only one
    with held_to(of_server):
        started = ServerProcess()
    with started as server, held_to(usable_cores() - of_server):
        served = CarlaParkingSimulator(port=server.port, seconds=60.0)
        try:
            for episode in range(episodes):
                _compare(served, native, _scenario(episode), ticks, cameras, found, times)
                found.episodes += 1
                if found.episodes in (math.ceil(episodes / 10), episodes):
                    found.server_memory.append(_memory(server.pid))
                    found.client_memory.append(_memory(None))
                report(found.episodes, episodes)
            found.missed_images = served.missed_frames
        finally:
            native.close()
            served.close()
        found.leaked_actors = _left_behind(server.port)
    found.tick_ms = times.medians()
    return found


class _Times:
    """Seconds of ticks by who drove them."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {"served": [], "native": []}

    def look(
        self,
        name: str,
        simulator: ParkingSimulator,
        command: VehicleCommand,
        cameras: Sequence[CameraSpec],
    ) -> CameraFrames:
        """Drive one tick and look; its time is kept."""
        start = time.perf_counter()
        simulator.step(command)
        simulator.sensors()
        frames = simulator.render(cameras, False)
        self._seconds[name].append(time.perf_counter() - start)
        return frames

    def medians(self) -> dict[str, float]:
        """Milliseconds, and the ratio of served to native."""
        served, native = (1000.0 * float(np.median(self._seconds[n])) for n in self._seconds)
        return {
            "served": round(served, 3),
            "native": round(native, 3),
            "ratio": round(served / native, 3),
        }


def _compare(
    served: CarlaParkingSimulator,
    native: MujocoParkingSimulator,
    scenario: Scenario,
    ticks: int,
    cameras: Sequence[CameraSpec],
    found: Comparison,
    times: _Times,
) -> None:
    simulators: tuple[ParkingSimulator, ...] = (served, native)
    for simulator in simulators:
        simulator.reset(scenario)
        simulator.render(cameras, False)
    for command in _commands(scenario, ticks):
        pictures = times.look("served", served, command, cameras).colour
        expected = times.look("native", native, command, cameras).colour
        apart = np.abs(pictures.astype(np.int16) - expected.astype(np.int16)).mean()
        found.different_pictures += bool(apart > SAME_PICTURE)
        here, there = served.vehicle_state().pose, native.vehicle_state().pose
        found.farthest = max(found.farthest, math.hypot(here.x - there.x, here.y - there.y))
        found.ticks += 1


def _scenario(episode: int) -> Scenario:
    return make_scenario(("standard", "cluttered")[episode % 2], "train", episode)


def _commands(scenario: Scenario, ticks: int) -> Iterator[VehicleCommand]:
    """Gentle driving to and fro with all steering angles."""
    random = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(scenario.index,)))
    reverse = bool(random.random() < 0.5)
    for _ in range(ticks):
        # As actions are: 32 bits, which is what crosses the wire.
        acceleration = np.float32(random.uniform(-0.3, 0.5))
        steer = np.float32(random.uniform(-1.0, 1.0))
        yield VehicleCommand(float(acceleration), float(steer), reverse)


def _left_behind(port: int) -> int:
    """Actors that are still on the server after the simulator was closed."""
    client = carla_module().Client("127.0.0.1", port)
    client.set_timeout(60.0)
    world = client.get_world()
    world.wait_for_tick(60.0)
    roles = [actor.attributes.get("role_name") for actor in world.get_actors()]
    return sum(role in (OWN_ROLE, EGO_ROLE) for role in roles)


def _memory(pid: int | None) -> float:
    """Resident memory of a process (None: this one) in MiB; nan where the system does not say."""
    status = Path(f"/proc/{'self' if pid is None else pid}/status")
    if not status.is_file():
        return math.nan
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024.0, 1)
