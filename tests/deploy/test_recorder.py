import numpy as np
import pytest
from driving import PERIOD
from serving import EMBODIMENT, observation

from helmsight.deploy.chunks import Chunk
from helmsight.deploy.decider import SERVER_LOST, TROUBLES
from helmsight.deploy.recorder import FlightRecorder, Moment
from helmsight.deploy.robot import Observed
from helmsight.deploy.safety import NO_ACTION, REASONS

BRAKE = np.array([-1.0, 0.0, 0.0], np.float32)
AHEAD = np.array([0.25, 0.1, 0.0], np.float32)


def moment(tick, values=None, chunk=None, proposed=AHEAD, executed=AHEAD, reasons=(), troubles=()):
    began = 100.0 + tick * PERIOD
    observed = Observed(observation(tick) if values is None else values, began - 0.02)
    return Moment(tick, began, observed, chunk, proposed, executed, reasons, troubles)


def recorded(*moments, seconds=10.0):
    recorder = FlightRecorder(EMBODIMENT, seconds)
    for one in moments:
        recorder.note(one)
    return recorder


def test_only_the_last_seconds_are_kept():
    recorder = recorded(*(moment(tick) for tick in range(50)), seconds=2.0)
    assert recorder.columns()["controller.tick"].tolist() == list(range(30, 50))


def test_a_row_holds_what_was_seen_proposed_and_done():
    chunk = Chunk(np.tile(AHEAD, (3, 1)), 99.95, 99.99, PERIOD)
    braking = moment(0, chunk=chunk, executed=BRAKE, reasons=(NO_ACTION,), troubles=[SERVER_LOST])
    columns = recorded(braking, moment(1, chunk=chunk)).columns()
    key = EMBODIMENT.image_keys[0]
    np.testing.assert_array_equal(columns[key][1], observation(1)[key])
    np.testing.assert_array_equal(columns["action"], [BRAKE, AHEAD])
    np.testing.assert_array_equal(columns["controller.proposed"], [AHEAD, AHEAD])
    assert columns["controller.observation_age"] == pytest.approx([0.02, 0.02])
    assert columns["controller.chunk_age"] == pytest.approx([0.05, 0.15])
    acted_on = columns["controller.interventions"][:, REASONS.index(NO_ACTION)]
    assert acted_on.tolist() == [True, False] and columns["controller.interventions"].sum() == 1
    assert columns["controller.troubles"][:, TROUBLES.index(SERVER_LOST)].tolist() == [True, False]


def test_what_changes_until_the_period_is_over_is_kept():
    one = moment(0)
    recorder = recorded(one)
    one.executed, one.reasons = BRAKE, (NO_ACTION,)
    assert recorder.columns()["action"][0, 0] == -1.0


def test_a_robot_may_use_its_memory_again():
    values = observation(0)
    recorder = recorded(moment(0, values))
    before = values["observation.state"].copy()
    values["observation.state"][:] = 9.0
    np.testing.assert_array_equal(recorder.columns()["observation.state"][0], before)


def test_chunks_of_any_length_stand_in_one_column():
    chunks = [None, Chunk(np.ones((2, 3), np.float32), 100.0, 100.0, PERIOD)]
    chunks.append(Chunk(np.full((4, 3), 2.0, np.float32), 100.0, 100.0, PERIOD))
    recorder = recorded(*(moment(tick, chunk=chunk) for tick, chunk in enumerate(chunks)))
    assert recorder.columns()["controller.chunk"].shape == (3, 12)
    assert recorder.columns()["controller.chunk"][1].tolist() == [1.0] * 12
    assert recorder.columns(3)["controller.chunk"].shape == (3, 9)
    assert recorder.columns(3)["controller.chunk_length"].tolist() == [0, 2, 3]


def test_what_the_robot_failed_to_report_is_zero_and_hinders_nothing():
    broken = {"observation.state": np.full(EMBODIMENT.state.size, np.nan, np.float32)}
    infinite = np.full(3, np.inf, np.float32)
    columns = recorded(moment(0), moment(1, broken, proposed=infinite), moment(2, {})).columns()
    assert all(np.isfinite(values).all() for values in columns.values())
    assert not columns["observation.state"][1:].any()
    assert not columns[EMBODIMENT.image_keys[0]][1:].any()


def test_cameras_that_never_reported_have_no_column():
    blind = {"observation.state": observation()["observation.state"]}
    columns = recorded(moment(0, blind)).columns()
    assert not [key for key in columns if ".images." in key]


def test_a_period_without_a_proposal_repeats_its_action():
    columns = recorded(moment(0, proposed=None, executed=BRAKE)).columns()
    assert columns["controller.is_proposed"].tolist() == [False]
    np.testing.assert_array_equal(columns["controller.proposed"], [BRAKE])


def test_an_empty_recorder_and_no_time_to_keep_are_refused():
    with pytest.raises(ValueError, match="nothing was driven"):
        FlightRecorder(EMBODIMENT, 1.0).columns()
    with pytest.raises(ValueError, match="more than 0 seconds"):
        FlightRecorder(EMBODIMENT, 0.0)
