"""One attempt at a demonstration: what comes before the expert, then the expert, recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.expert import ParkingExpert, PlanningFailure
from helmsight.envs.parking.simulator import VehicleCommand
from helmsight.envs.parking.vehicle import CONTROL_RATE_HZ
from helmsight.training.collection.demonstration import Demonstration, FailedAttempt
from helmsight.training.collection.parking.attempt import ParkingAttempt
from helmsight.training.collection.parking.policy_driver import PolicyDriver
from helmsight.training.collection.parking.recording import EpisodeRecorder
from helmsight.training.dataset.format import Features

# Of the 2 s that the car must hold still, as many frames as teach it to (1 s).
HOLDING_FRAMES = CONTROL_RATE_HZ


class ParkingDemonstrator:
    """Carries out attempts in one environment, kept from attempt to attempt."""

    def __init__(
        self,
        environment: ParkingEnvironment,
        features: Features,
        policy: PolicyDriver | None = None,
    ) -> None:
        self._environment = environment
        self._features = features
        self._policy = policy

    def run(self, attempt: ParkingAttempt) -> Demonstration:
        """Carry out one attempt. Raises FailedAttempt where it gives no demonstration."""
        environment = self._environment
        info = environment.restart(options={"scenario": attempt.scenario()})
        expert = ParkingExpert(environment.scenario)
        try:
            if attempt.mode == "disturbed":
                self._be_disturbed(attempt, expert)
            elif attempt.mode == "handover":
                self._roll_in(attempt)
            expert.plan(environment.vehicle_state())
            recorder = self._record_expert(attempt, expert)
        except PlanningFailure:
            raise FailedAttempt("expert: no plan") from None
        return Demonstration(recorder.columns(), info["task"])

    def close(self) -> None:
        self._environment.close()

    def _record_expert(self, attempt: ParkingAttempt, expert: ParkingExpert) -> EpisodeRecorder:
        environment = self._environment
        recorder = EpisodeRecorder(environment, self._features)
        limit = round(attempt.expert_time_limit * CONTROL_RATE_HZ)
        held = steps = 0
        ended = False
        info: dict[str, Any] = {}
        while not ended:
            if steps >= limit:
                raise FailedAttempt("expert: TR")
            state = environment.vehicle_state()
            action = action_from_command(expert.act(state))
            standing = expert.done(state)
            if not standing and held >= HOLDING_FRAMES:
                # Frames were left out already; what follows would not be 0.1 s later.
                raise FailedAttempt("expert: moved after parking")
            held = held + 1 if standing else 0
            if held <= HOLDING_FRAMES:
                recorder.record(action)
            _, terminated, truncated, info = environment.advance(action)
            ended, steps = terminated or truncated, steps + 1
        outcome = info["episode_metrics"]["outcome"]
        if outcome != "TSR":
            raise FailedAttempt(f"expert: {outcome}")
        return recorder

    def _be_disturbed(self, attempt: ParkingAttempt, expert: ParkingExpert) -> None:
        """The expert drives, unrecorded, until the disturbance pushes it off its way."""
        environment = self._environment
        command = expert.act(environment.vehicle_state())
        for _ in range(round(attempt.handover_time * CONTROL_RATE_HZ)):
            if expert.done(environment.vehicle_state()):
                break
            self._drive(command, "expert")
            command = expert.act(environment.vehicle_state())
        disturbance = attempt.disturbance
        for period in range(disturbance.duration):
            pushed = disturbance.command(period, command, environment.vehicle_state())
            self._drive(pushed, "disturbance")

    def _drive(self, command: VehicleCommand, phase: str) -> None:
        _, terminated, truncated, info = self._environment.advance(action_from_command(command))
        if terminated or truncated:
            raise FailedAttempt(f"{phase}: {info['episode_metrics']['outcome']}")

    def _roll_in(self, attempt: ParkingAttempt) -> None:
        """The policy drives; where it fails before its time is up, it hands over shortly before.

        An episode is a pure function of its commands, so the way there is driven once more.
        """
        if self._policy is None:
            raise ValueError("a hand-over attempt needs a policy")
        environment = self._environment
        actions, outcome = self._policy.drive(
            environment, round(attempt.handover_time * CONTROL_RATE_HZ)
        )
        if outcome is None:
            return
        if outcome == "TSR":
            raise FailedAttempt("policy: TSR")
        environment.restart(options={"scenario": environment.scenario})
        kept = max(0, len(actions) - round(attempt.back_off * CONTROL_RATE_HZ))
        for action in actions[:kept]:
            environment.advance(action)


def action_from_command(command: VehicleCommand) -> NDArray[np.float32]:
    """The action vector [3] of a command."""
    return np.array([command.acceleration, command.steer, float(command.reverse)], np.float32)
