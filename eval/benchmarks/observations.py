"""Observations a second: simulate a control period, then make the pictures of all cameras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.eval.benchmarks.drives import Drive, replay, typical_drives
from helmsight.eval.benchmarks.measurement import Clock, Measurement, Report, measurement

SCENARIOS_A_FAMILY = 3
STEPS = 60


def measure_observations_per_second(
    environment_options: Mapping[str, Any], seconds: float, repeats: int, report: Report
) -> Measurement:
    """Observations a second along the expert's drives in both families.

    A repeat goes through all drives, as often as it takes to fill its share of `seconds`. Planning
    and starting an episode are not timed: they make no observation.
    """
    environment = ParkingEnvironment(**environment_options)
    try:
        drives = typical_drives(environment, SCENARIOS_A_FAMILY, STEPS)
        observe_along(environment, drives[0], Clock())
        rates, total = [], Clock()
        for done in range(repeats):
            clock, count = Clock(), 0
            while count == 0 or clock.seconds < seconds / repeats:
                count += sum(observe_along(environment, drive, clock) for drive in drives)
            rates.append(count / clock.seconds)
            total.seconds += clock.seconds
            total.processor_seconds += clock.processor_seconds
            report(done + 1, repeats)
    finally:
        environment.close()
    cameras = environment.embodiment.cameras
    depth = " and depth" if environment.depth else ""
    how = (
        f"{len(cameras)} cameras of {cameras[0].width}x{cameras[0].height}, colour{depth}, one "
        f"control period driven before each, {len(drives)} scenarios of both families, their "
        "starts not counted, one core"
    )
    return measurement(rates, "1/s", total.cores_used, how)


def observe_along(environment: ParkingEnvironment, drive: Drive, clock: Clock) -> int:
    """Drive and look at every step; the number of observations, their time on the clock.

    The first look at a scenario also takes it over into the renderer; that is part of starting.
    """
    for step, action in enumerate(replay(environment, drive)):
        if step == 0:
            environment.observe()
        with clock:
            environment.advance(action)
            environment.observe()
    return len(drive.actions)
