"""Faults in mid-drive: how soon the safe action comes, and whether the drive goes on afterwards.

`PYTHONPATH=. python tests/deploy/faults.py 20` does each fault so many times and prints a table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from driving import PERIOD, MoodyServer, NotedRobot, Reply, chunk_reply, drive, good
from serving import CHUNK

BEGIN = 6  # the tick at which the fault begins


def later(seconds: float) -> Reply:
    """A good reply after so many seconds."""

    def reply(connection: object) -> None:
        time.sleep(seconds)
        connection.send(chunk_reply(np.full((CHUNK, 3), 0.25, np.float32)))  # type: ignore[attr-defined]

    return reply


def sending(actions: object) -> Reply:
    """A reply with these actions."""
    return lambda connection: connection.send(chunk_reply(actions))


@dataclass(frozen=True)
class Fault:
    """begin, end: what happens to robot and server, at tick `BEGIN` and `ticks` later.

    within: ticks from its begin to the safe action at the latest. 1 for what shows at once; what
    shows by its absence takes the declared time-out, and then one tick.
    """

    begin: Callable[[NotedRobot, MoodyServer], None]
    end: Callable[[NotedRobot, MoodyServer], None]
    ticks: int
    within: int


def _mood(reply: Reply) -> Callable[[NotedRobot, MoodyServer], None]:
    return lambda robot, server: setattr(server, "mood", reply)


def _good(robot: NotedRobot, server: MoodyServer) -> None:
    server.mood = good
    robot.frozen = robot.silent = False


def _nothing(robot: NotedRobot, server: MoodyServer) -> None:
    return


# max_action_age is 0.35 s: periods 0 to 3 after the last decided observation are covered by it.
FAULTS = {
    "server killed": Fault(lambda _, server: server.kill(), lambda _, server: server.start(), 5, 1),
    "reply delayed 1 s": Fault(_mood(later(1.0)), _good, 5, 4),
    "NaN reply": Fault(_mood(sending(np.full((CHUNK, 3), np.nan, np.float32))), _good, 4, 1),
    "wrong shape": Fault(_mood(sending(np.zeros((CHUNK, 5), np.float32))), _good, 4, 1),
    "connection cut": Fault(lambda _, server: server.cut(), _nothing, 4, 1),
    "observation frozen": Fault(lambda robot, _: setattr(robot, "frozen", True), _good, 4, 1),
    # max_observation_age is 0.25 s.
    "observation missing": Fault(lambda robot, _: setattr(robot, "silent", True), _good, 6, 3),
}


@dataclass(frozen=True)
class Effect:
    """safe_after: ticks from the fault's begin to the first safe action, counted from 1.

    safe_seconds: the same by the clock. recovered_after: ticks from its end to the first action of
    the policy's own.
    """

    safe_after: int
    safe_seconds: float
    recovered_after: int
    slowest_tick: float


def suffer(fault: Fault, recovery_ticks: int = 15) -> Effect:
    """One drive with the fault in its middle."""
    server, robot = MoodyServer(), NotedRobot(BEGIN + fault.ticks + recovery_ticks)

    began: list[float] = []

    def at_tick(tick: int) -> None:
        if tick == BEGIN:
            began.append(time.monotonic())
            fault.begin(robot, server)
        if tick == BEGIN + fault.ticks:
            fault.end(robot, server)

    robot.at_tick = at_tick
    try:
        record = drive(robot, server.address)
    finally:
        server.kill()
    assert record.outcome == "done" and robot.stopped == 1
    assert not any(robot.safe[1:BEGIN]), "the drive must be in order before the fault"
    end = BEGIN + fault.ticks
    safe_after = robot.safe[BEGIN:].index(True) + 1
    first_safe_end = max(end, BEGIN + safe_after)
    recovered = robot.safe[first_safe_end:].index(False) + first_safe_end
    assert not any(robot.safe[-3:]), "the drive must go on after the fault"
    safe_seconds = min(at for at in robot.safe_at if at >= began[0]) - began[0]
    return Effect(safe_after, safe_seconds, recovered - end, float(np.diff(robot.acted_at).max()))


def main(repeats: int) -> None:
    """Print a table of every fault."""
    print(f"{'fault':<22}{'n':>4}{'safe within (ticks)':>22}{'allowed':>9}{'goes on after':>15}")
    for name, fault in FAULTS.items():
        effects = [suffer(fault) for _ in range(repeats)]
        safe = sorted(effect.safe_after for effect in effects)
        back = max(effect.recovered_after for effect in effects)
        print(f"{name:<22}{repeats:>4}{f'{safe[0]} to {safe[-1]}':>22}{fault.within:>9}{back:>15}")
        slowest = max(effect.slowest_tick for effect in effects)
        seconds = np.median([effect.safe_seconds for effect in effects])
        print(
            f"{'':<22}by the clock {1000.0 * seconds:.0f} ms (median); longest between two actions "
            f"{1000.0 * slowest:.0f} ms of {1000.0 * PERIOD:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
