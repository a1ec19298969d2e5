"""What the car's sensors and controls said along whole episodes, and where it truly was.

Recorded once and kept, so that every motion model is measured on the same streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.env import ParkingEnvironment, command_from_action
from helmsight.envs.parking.scenario import FAMILIES, Scenario, make_scenario
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.eval.folder_log import refuse_other_settings, write_atomically
from helmsight.eval.pool import WorkerDied, run_jobs
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.rollout import EpisodeRunner
from helmsight.eval.sources import PolicySource

SETTINGS_FILE = "streams.json"


class Drive(NamedTuple):
    """Which episode of which family."""

    family: str
    episode: int


class SensorStream(NamedTuple):
    """One episode of T control periods.

    readings [T + 1, 5]: speed, acceleration forward and left, yaw rate, steering angle. commands
    [T, 3]: acceleration, steer, reverse (0 or 1). poses [T + 1, 3]: true x, y, yaw in the lot.
    """

    readings: NDArray[np.float64]
    commands: NDArray[np.float64]
    poses: NDArray[np.float64]

    def reading(self, index: int) -> SensorReading:
        speed, forward, left, yaw_rate, angle = self.readings[index].tolist()
        return SensorReading(speed, (forward, left), yaw_rate, angle)

    def command(self, index: int) -> VehicleCommand:
        acceleration, steer, reverse = self.commands[index].tolist()
        return VehicleCommand(acceleration, steer, bool(reverse))

    def pose(self, index: int) -> Pose:
        return Pose(*self.poses[index].tolist())


@dataclass(frozen=True)
class StreamSettings:
    """Which episodes are driven by whom; `out` keeps a file an episode.

    env_options: of the environment, but for family and split: cameras and image size of the driver.
    """

    driver: PolicySource
    out: Path
    families: Sequence[str] = tuple(FAMILIES)
    split: str = "test"
    approach: str = "reverse"
    episodes: int = 96
    env_options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    workers: int = 1

    @property
    def drives(self) -> list[Drive]:
        return [Drive(family, index) for family in self.families for index in range(self.episodes)]

    def scenario(self, drive: Drive) -> Scenario:
        return make_scenario(drive.family, self.split, drive.episode, self.approach)

    def identity(self) -> dict[str, Any]:
        """What makes two recordings the same."""
        driver = {k: v for k, v in self.driver.provenance().items() if k != "checkpoint"}
        return {
            "driver": driver,
            "split": self.split,
            "approach": self.approach,
            "env_options": self.env_options,
            "seed": self.seed,
        }


def sensor_streams(settings: StreamSettings) -> Iterator[tuple[Drive, SensorStream]]:
    """All streams in the order of `settings.drives`; what is not on disk yet is driven first.

    Raises ValueError where `out` holds streams of other settings, RuntimeError where the simulator
    or the driver failed.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    identity = json.loads(json.dumps(settings.identity()))
    identity_file = settings.out / SETTINGS_FILE
    if identity_file.exists() and any(settings.out.glob("*.npz")):
        refuse_other_settings(identity_file, identity)
    else:
        write_atomically(identity_file, json.dumps(identity, indent=2) + "\n")
    _record_missing(settings)
    for drive in settings.drives:
        yield drive, _read(_file(settings, drive))


def _record_missing(settings: StreamSettings) -> None:
    total = len(settings.drives)
    missing = [drive for drive in settings.drives if not _file(settings, drive).is_file()]
    if not missing:
        return
    setup = DriverSetup(
        settings.driver, settings.split, settings.approach, settings.env_options, settings.seed
    )
    with ProgressReporter("Driving", total, total - len(missing), "parked") as progress:
        for drive, stream, parked in _driven(setup, missing, settings.workers):
            _write(_file(settings, drive), stream)
            progress.advance(parked)


def _driven(
    setup: DriverSetup, drives: list[Drive], workers: int
) -> Iterator[tuple[Drive, SensorStream, bool]]:
    if workers <= 1:
        record = setup()
        for drive in drives:
            stream, parked = record(drive)
            yield drive, stream, parked
        return
    for done in run_jobs(setup, drives, workers):
        if isinstance(done.result, WorkerDied):
            raise RuntimeError(f"{done.job.family} {done.job.episode}: {done.result}")
        stream, parked = done.result
        yield done.job, stream, parked


@dataclass(frozen=True)
class DriverSetup:
    """Makes what drives and records in one process."""

    driver: PolicySource
    split: str
    approach: str
    env_options: dict[str, Any]
    seed: int

    def __call__(self) -> Callable[[Drive], tuple[SensorStream, bool]]:
        torch.set_num_threads(1)
        policy = self.driver.load("cpu")
        environments: dict[str, RecordingEnvironment] = {}

        def drive(wanted: Drive) -> tuple[SensorStream, bool]:
            if wanted.family not in environments:
                environments[wanted.family] = RecordingEnvironment(
                    family=wanted.family,
                    split=self.split,
                    approach=self.approach,
                    **self.env_options,
                )
            environment = environments[wanted.family]
            runner = EpisodeRunner(lambda: environment, policy, self.seed)
            record = runner.run(wanted.episode)
            if record.error is not None:
                raise RuntimeError(f"{wanted.family} {wanted.episode}: {record.error}")
            return environment.stream(), record.success

        return drive


class RecordingEnvironment(ParkingEnvironment):
    """The parking environment that remembers its episode's sensor stream."""

    def restart(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        info = super().restart(seed=seed, options=options)
        self._readings, self._commands = [self.sensor_reading], list[VehicleCommand]()
        self._poses = [self.vehicle_state().pose]
        return info

    def advance(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        result = super().advance(action)
        self._commands.append(command_from_action(action))
        self._readings.append(self.sensor_reading)
        self._poses.append(self.vehicle_state().pose)
        return result

    def stream(self) -> SensorStream:
        """The stream of the episode so far."""
        readings = [
            (reading.speed, *reading.acceleration, reading.yaw_rate, reading.steering_angle)
            for reading in self._readings
        ]
        return SensorStream(
            np.array(readings, np.float64),
            np.array(self._commands, np.float64).reshape(-1, 3),
            np.array(self._poses, np.float64),
        )


def _file(settings: StreamSettings, drive: Drive) -> Path:
    return settings.out / f"{drive.family}-{drive.episode:04d}.npz"


def _write(file: Path, stream: SensorStream) -> None:
    partial = file.with_suffix(".partial")
    with partial.open("wb") as opened:
        np.savez(opened, **stream._asdict())
    partial.replace(file)


def _read(file: Path) -> SensorStream:
    try:
        with np.load(file) as arrays:
            return SensorStream(**{name: arrays[name] for name in SensorStream._fields})
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{file} is no readable sensor stream ({error}); delete it") from error
