import dataclasses
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from serving import EMBODIMENT, observation

from helmsight.deploy.robot import Observed
from helmsight.deploy.safety import SafetyGate, tightened
from helmsight.envs.parking.vehicle import PARKING_SAFETY
from helmsight.envs.spec import SafetySpec

STRICT = dataclasses.replace(PARKING_SAFETY, max_velocity=(5.0, 5.0, math.inf), max_jump=(1.5,) * 3)
any_action = some.lists(
    some.floats(width=32) | some.floats(-2.0, 2.0, width=32), min_size=3, max_size=3
)


def gate(safety=PARKING_SAFETY):
    return SafetyGate(EMBODIMENT, safety)


def action(*values):
    return np.array(values, np.float32)


def observed(taken_at, seed=0):
    return Observed(observation(seed), taken_at)


def test_a_proper_action_passes_untouched():
    one = gate()
    assert np.array_equal(one.execute(0, action(0.5, -0.25, 1.0), None), action(0.5, -0.25, 1.0))
    assert not one.counts


@given(
    some.lists(some.none() | any_action, max_size=20), some.sampled_from((PARKING_SAFETY, STRICT))
)
def test_whatever_is_proposed_what_is_executed_keeps_the_limits(proposals, safety):
    one, before = gate(safety), None
    for tick, values in enumerate(proposals):
        proposed = None if values is None else np.array(values, np.float32)
        executed = one.execute(tick, proposed, None)
        assert np.isfinite(executed).all()
        assert (executed >= EMBODIMENT.action.low).all()
        assert (executed <= EMBODIMENT.action.high).all()
        if before is not None and not np.isclose(executed[0], -1.0):
            step = np.array(safety.max_velocity) / EMBODIMENT.rate_hz
            assert (np.abs(executed - before) <= step + 1e-5).all()
        before = executed


@pytest.mark.parametrize(
    ("proposed", "doubt", "reason"),
    (
        (None, None, "no_action"),
        (action(np.nan, 0.0, 0.0), None, "not_finite"),
        (action(np.inf, 0.0, 0.0), None, "not_finite"),
        (action(0.0, 0.0), None, "not_finite"),
        (action(0.0, 0.0, 0.0), "stale_observation", "stale_observation"),
    ),
)
def test_in_doubt_the_car_brakes_with_wheels_and_gear_as_they_are(proposed, doubt, reason):
    one = gate()
    one.execute(0, action(0.5, 0.75, 1.0), None)
    assert np.array_equal(one.execute(1, proposed, doubt), action(-1.0, 0.75, 1.0))
    assert one.counts == {reason: 1}


def test_an_action_out_of_range_is_brought_into_it():
    one = gate()
    assert np.array_equal(one.execute(0, action(1.5, 0.0, -3.0), None), action(1.0, 0.0, 0.0))
    assert one.counts == {"position": 1}


def test_an_action_that_changes_too_fast_is_slowed():
    one = gate(STRICT)
    one.execute(0, action(0.0, 0.0, 0.0), None)
    assert one.execute(1, action(0.0, 1.0, 0.0), None) == pytest.approx(action(0.0, 0.5, 0.0))
    assert one.counts == {"velocity": 1}


def test_an_action_that_jumps_is_not_carried_out():
    one = gate(STRICT)
    one.execute(0, action(0.0, -0.9, 0.0), None)
    assert one.execute(1, action(0.0, 0.9, 0.0), None) == pytest.approx(action(-1.0, -0.9, 0.0))
    assert one.counts == {"jump": 1}


NARROW = tightened(PARKING_SAFETY, {"max_jump": [1.0, None, None]})


def test_a_car_that_began_with_the_brake_may_drive_off():
    one = gate(NARROW)
    one.execute(0, None, None)
    assert one.execute(1, action(0.3, 0.0, 1.0), None) == pytest.approx(action(0.3, 0.0, 1.0))


@pytest.mark.parametrize("proposed", [None, action(np.nan, 0.0, 0.0), action(-0.9, 0.0, 0.0)])
def test_after_a_brake_an_action_like_the_one_before_it_is_no_jump(proposed):
    one = gate(NARROW)
    one.execute(0, action(0.3, 0.0, 0.0), None)
    assert one.execute(1, proposed, None)[0] == -1.0
    assert one.execute(2, action(0.4, 0.0, 0.0), None)[0] == pytest.approx(0.4)


def test_after_a_brake_an_action_far_from_all_before_it_is_a_jump():
    one = gate(dataclasses.replace(PARKING_SAFETY, max_jump=(0.5, math.inf, math.inf)))
    one.execute(0, action(0.0, 0.0, 0.0), None)
    one.execute(1, None, None)
    one.execute(2, action(0.9, 0.0, 0.0), None)
    assert one.counts == {"no_action": 1, "jump": 1}


def test_after_a_brake_an_action_near_the_brake_is_no_jump():
    one = gate(NARROW)
    one.execute(0, action(0.6, 0.0, 0.0), None)
    for tick in (1, 2):
        one.execute(tick, action(-0.6, 0.0, 0.0), None)
    assert one.counts == {"jump": 1}


def test_a_brake_ends_when_nothing_of_before_it_is_in_force():
    one = gate(dataclasses.replace(PARKING_SAFETY, max_jump=(0.5, math.inf, math.inf)))
    one.execute(0, action(0.0, 0.0, 0.0), None)
    ticks = math.ceil(PARKING_SAFETY.max_action_age * EMBODIMENT.rate_hz)
    for tick in range(1, 1 + ticks):
        assert one.execute(tick, action(0.9, 0.0, 0.0), None)[0] == -1.0
    assert one.execute(1 + ticks, action(0.9, 0.0, 0.0), None)[0] == pytest.approx(0.9)


def test_the_way_back_from_a_brake_is_slowed_as_any_other():
    one = gate(STRICT)
    one.execute(0, None, None)
    assert one.execute(1, action(1.0, 0.0, 0.0), None)[0] == pytest.approx(-0.5)
    assert one.counts == {"no_action": 1, "velocity": 1}


def test_every_intervention_is_kept_with_what_was_wanted_and_done():
    one = gate()
    one.execute(7, action(1.5, 0.0, 0.0), None)
    (kept,) = one.interventions
    assert (kept.tick, kept.reason) == (7, "position")
    assert kept.proposed == (1.5, 0.0, 0.0) and kept.executed == (1.0, 0.0, 0.0)


def test_the_log_tells_begin_and_end_and_not_every_tick(caplog):
    caplog.set_level(logging.WARNING)
    one = gate()
    for tick in range(10):
        one.execute(tick, None, None)
    one.execute(10, action(0.0, 0.0, 0.0), None)
    assert [record.getMessage() for record in caplog.records] == [
        "tick 0: intervention no_action begins",
        "tick 10: intervention no_action is over",
    ]


# ---- Observations ----


def test_a_fresh_observation_is_not_doubted():
    one = gate()
    assert one.doubt(observed(5.0, seed=0), 5.05) is None
    assert one.doubt(observed(5.1, seed=1), 5.15) is None


def test_an_observation_grows_stale():
    one = gate()
    assert one.doubt(observed(5.0), 5.25) is None
    assert one.doubt(observed(5.0), 5.26) == "stale_observation"


@pytest.mark.parametrize("ahead", (0.2, 60.0, 1.7e9, math.nan))
def test_a_reading_from_the_future_is_of_another_clock(ahead):
    assert gate().doubt(observed(5.0 + ahead), 5.0) == "wrong_clock"


def test_a_reading_made_just_after_the_time_was_noted_is_not_doubted():
    assert gate().doubt(observed(5.05), 5.0) is None


WATCHED = dataclasses.replace(PARKING_SAFETY, pictures_never_repeat=True)


def with_camera_of(seed, other):
    """A reading whose second camera shows what another reading's did."""
    values = observation(seed)
    key = EMBODIMENT.image_keys[1]
    return {**values, key: observation(other)[key]}


def test_a_camera_that_repeats_is_frozen_until_it_changes():
    one = gate(WATCHED)
    assert one.doubt(Observed(observation(0), 5.0), 5.05) is None
    assert one.doubt(Observed(with_camera_of(1, other=0), 5.1), 5.15) == "frozen_camera"
    assert one.doubt(Observed(with_camera_of(1, other=0), 5.1), 5.16) == "frozen_camera"
    assert one.doubt(Observed(observation(2), 5.2), 5.25) is None


def test_cameras_may_repeat_unless_they_are_said_never_to():
    one = gate()
    one.doubt(Observed(observation(0), 5.0), 5.05)
    assert one.doubt(Observed(with_camera_of(1, other=0), 5.1), 5.15) is None


def test_what_is_noticed_can_be_asked_for_and_not_be_given_up():
    assert tightened(PARKING_SAFETY, {"pictures_never_repeat": True}).pictures_never_repeat
    for changes in ({"never_repeats": False}, {"pictures_never_repeat": 1.0}):
        with pytest.raises(ValueError, match="can only be tightened: expected true"):
            tightened(PARKING_SAFETY, changes)


def test_a_reading_that_repeats_is_frozen_until_it_changes():
    one = gate()
    one.doubt(observed(5.0), 5.05)
    assert one.doubt(observed(5.1), 5.15) == "frozen_observation"
    assert one.doubt(observed(5.1), 5.16) == "frozen_observation"
    assert one.doubt(observed(5.2, seed=1), 5.25) is None


def test_the_same_reading_seen_twice_is_not_frozen():
    one = gate()
    assert one.doubt(observed(5.0), 5.05) is None
    assert one.doubt(observed(5.0), 5.15) is None


def test_sensors_that_may_repeat_are_not_frozen():
    one = gate(dataclasses.replace(PARKING_SAFETY, never_repeats=False))
    one.doubt(observed(5.0), 5.05)
    assert one.doubt(observed(5.1), 5.15) is None


def test_a_state_that_is_not_finite_is_doubted():
    broken = observation()
    broken["observation.state"][2] = np.nan
    assert gate().doubt(Observed(broken, 5.0), 5.0) == "bad_observation"
    assert gate().doubt(Observed({}, 5.0), 5.0) == "bad_observation"


# ---- Declared limits ----


def test_limits_can_be_tightened():
    narrowed = tightened(PARKING_SAFETY, {"max_velocity": [None, 5.0, None], "max_action_age": 0.2})
    assert narrowed.max_velocity == (math.inf, 5.0, math.inf)
    assert narrowed.max_action_age == 0.2
    assert narrowed.safe_action == PARKING_SAFETY.safe_action


@pytest.mark.parametrize(
    "changes",
    (
        {"max_velocity": [None, 50.0, None]},
        {"max_action_age": 5.0},
        {"max_action_age": 0.0},
        {"max_observation_age": math.nan},
        {"max_jump": [1.0]},
        {"max_jump": 1.0},
        {"max_action_age": [0.1]},
    ),
)
def test_limits_cannot_be_widened_or_misshaped(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        tightened(PARKING_SAFETY, changes)


def test_a_specification_of_another_size_is_refused():
    two = SafetySpec((0.0, None), (1.0, 1.0), (1.0, 1.0), 0.2, 0.2, True)
    with pytest.raises(ValueError, match="for 2 action entries"):
        SafetyGate(EMBODIMENT, two)
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        SafetySpec((0.0, None), (1.0,), (1.0, 1.0), 0.2, 0.2, True)
