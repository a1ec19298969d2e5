"""Decision time: from one observation to an action, as on the car."""

from __future__ import annotations

import torch

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.eval.benchmarks.drives import replay, typical_drives
from helmsight.eval.benchmarks.measurement import Clock, Measurement, Report, measurement
from helmsight.policies.base import Policy

_WARM_UP_DECISIONS = 5
_STEPS = 50


def measure_decision_ms(
    policy: Policy, environment: ParkingEnvironment, decisions: int, report: Report
) -> Measurement:
    """Milliseconds of `policy.predict` on observations along the expert's drives.

    Batch 1; between two decisions the simulator makes the next pictures, so that caches are as cold
    as in use.
    """
    policy.eval()
    a_family = max(1, -(-(decisions + _WARM_UP_DECISIONS) // (2 * _STEPS)))
    drives = typical_drives(environment, a_family, _STEPS)
    milliseconds: list[float] = []
    total, taken = Clock(), 0
    while len(milliseconds) < decisions:
        for drive in drives:
            for action in replay(environment, drive):
                observation = environment.observe()
                policy.reset()
                with Clock() as clock:
                    policy.predict(observation)
                taken += 1
                if _WARM_UP_DECISIONS < taken <= decisions + _WARM_UP_DECISIONS:
                    milliseconds.append(1e3 * clock.seconds)
                    total.seconds += clock.seconds
                    total.processor_seconds += clock.processor_seconds
                    report(len(milliseconds), decisions)
                environment.advance(action)
    how = f"batch 1, real observations of both families, {torch.get_num_threads()} threads"
    return measurement(milliseconds, "ms", total.cores_used, how)
