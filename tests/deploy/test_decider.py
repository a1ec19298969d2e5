from __future__ import annotations

import dataclasses
import logging
import time

import pytest
from serving import EMBODIMENT, FakeModel, observation

from helmsight.deploy.client import Announcement
from helmsight.deploy.decider import RECONNECTED, Decider
from helmsight.deploy.robot import Observed

STATE_ALONE = Announcement("state-policy", ("observation.state",), 1, EMBODIMENT)
WITH_CAMERAS = dataclasses.replace(
    STATE_ALONE, policy="camera-policy", observation_keys=FakeModel.observation_keys
)
SLOWER = dataclasses.replace(STATE_ALONE, policy="slow-policy", steps_per_decision=4)
NEWER = dataclasses.replace(STATE_ALONE, policy="newer-policy")


class LostClient:
    """Announces one policy after the other, the last one at every further attempt."""

    connected = False

    def __init__(self, *announced: Announcement) -> None:
        self.announced, self.closed = list(announced), 0

    def connect(self) -> Announcement:
        return self.announced.pop(0) if len(self.announced) > 1 else self.announced[0]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def reconnected(monkeypatch):
    """What the client of a decider prepared for `STATE_ALONE` had to refuse, and what came then."""
    monkeypatch.setattr("helmsight.deploy.decider.SECONDS_BETWEEN_ATTEMPTS", 0.01)

    def reconnected(*announced: Announcement) -> tuple[int, list[str]]:
        client = LostClient(*announced)
        decider = Decider(client, EMBODIMENT, STATE_ALONE)
        try:
            decider.submit(Observed(observation(), time.monotonic()))
            happened = decider.happened(time.monotonic() + 20.0)
        finally:
            decider.close()
        return client.closed, [trouble.kind for trouble in happened]

    return reconnected


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (WITH_CAMERAS, "camera-policy is served now, which reads"),
        (SLOWER, "slow-policy is served now, which decides every 4 periods"),
    ],
)
def test_an_unlike_policy_is_not_gone_on_with(reconnected, caplog, other, said):
    assert reconnected(other, STATE_ALONE) == (1, [RECONNECTED])
    assert said in caplog.text and "state-policy" in caplog.text


def test_waiting_for_the_right_policy_is_logged_once(reconnected, caplog):
    assert reconnected(*[WITH_CAMERAS] * 5, STATE_ALONE) == (5, [RECONNECTED])
    assert caplog.text.count("waiting for the right one") == 1


def test_a_policy_of_another_name_alone_is_gone_on_with_and_named(reconnected, caplog):
    caplog.set_level(logging.WARNING)
    assert reconnected(NEWER) == (0, [RECONNECTED])
    assert "newer-policy is served now, before state-policy" in caplog.text
