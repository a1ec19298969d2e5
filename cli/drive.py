"""`helmsight drive`: drive a robot with a served policy."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from helmsight.cli.configuration import configuration
from helmsight.cli.drive_robots import rides
from helmsight.cli.serve import read_api_key

if TYPE_CHECKING:
    from helmsight.cli.flight_log import FlightLog
    from helmsight.deploy.client import Announcement, PolicyClient
    from helmsight.deploy.controller import ControllerSettings
    from helmsight.deploy.robot import Robot


def run(words: list[str]) -> int:
    """Drive; returns the exit code: 0 when every drive's task succeeded, else 1."""
    values = configuration("drive", words)
    if values is None:
        return 0
    from helmsight.deploy.client import PolicyClient, connect_patiently

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    settings = _settings(values, announced_steps=1)  # wrong ones are refused before anything starts
    flights = _flight_log(values["record"], values["record_seconds"])
    client = PolicyClient(
        values["server"],
        read_api_key(values["api_key_file"]),
        reply_seconds=values["reply_seconds"],
    )
    announced = connect_patiently(client, values["wait_for_server"])
    settings = _settings(values, announced.steps_per_decision)
    print(f"{values['server']} serves {announced.policy} for {announced.embodiment.name}")
    session = Session(client, announced, settings, values["safety"], flights, values["real_time"])
    succeeded = []
    with _sigterm_as_interrupt():
        for ride in rides(values, announced):
            summary = {"robot": ride.name, **session.drive(ride.name, ride.robot)}
            succeeded.append(summary["outcome"] == ride.success)
            print(json.dumps(summary))
            _append(values["out"], summary)
    client.close()
    print(f"{sum(succeeded)} of {len(succeeded)} drives succeeded")
    return 0 if all(succeeded) else 1


def _settings(values: dict[str, Any], announced_steps: int) -> Any:
    from helmsight.deploy.controller import ControllerSettings

    return ControllerSettings(
        merge=values["merge"],
        decide_every=values["decide_every"] or announced_steps,
        wait_fraction=values["wait_fraction"],
        max_seconds=values["max_seconds"],
    )


def _flight_log(folder: str | None, seconds: float) -> FlightLog | None:
    if folder is None:
        return None
    try:
        from helmsight.cli.flight_log import FlightLog
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{error.name} is missing: pip install 'helmsight[record]'") from None
    return FlightLog(Path(folder), seconds)


@dataclass(frozen=True)
class Session:
    """One server, and what drives with it have in common.

    safety: what is tightened. real_time: whether to run before other programs.
    """

    client: PolicyClient
    announced: Announcement
    settings: ControllerSettings
    safety: dict[str, Any]
    flights: FlightLog | None
    real_time: bool

    def drive(self, name: str, robot: Robot) -> dict[str, Any]:
        """One drive's summary. However it ends, its record is written once the robot stands."""
        from helmsight.deploy.controller import Controller
        from helmsight.deploy.decider import Decider
        from helmsight.deploy.safety import tightened
        from helmsight.deploy.scheduling import before_others

        changes = {name: value for name, value in self.safety.items() if value is not None}
        limits = tightened(robot.safety, changes)
        recorder = self.flights.recorder(robot.embodiment) if self.flights else None
        robot.connect()
        decider = Decider(self.client, robot.embodiment, self.announced)
        controller = Controller(robot, decider, self.settings, limits, recorder)
        try:
            with before_others() if self.real_time else contextlib.nullcontext():
                return controller.run().summary()
        finally:
            try:
                decider.close()
            finally:
                if self.flights is not None and recorder is not None:
                    self.flights.write(recorder, name, controller.record.summary())


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM, as a service manager sends it, brakes and records as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt("stopped by SIGTERM")

    try:
        former = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever owns it handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _append(out: str | None, summary: dict[str, Any]) -> None:
    if out is None:
        return
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "drives.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(summary) + "\n")
