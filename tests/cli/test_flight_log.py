import json
import logging

import numpy as np
import pytest

from helmsight.cli.flight_log import FlightLog
from helmsight.cli.recorded_episodes import read_recording
from helmsight.deploy.chunks import Chunk
from helmsight.deploy.recorder import Moment
from helmsight.deploy.robot import Observed
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.training.dataset.reader import LeRobotDataset

EMBODIMENT = parking_embodiment("surround4", 16)
ACTION = np.array([0.5, -0.25, 1.0], np.float32)


def flown(log, ticks, chunk_length=4):
    """A recorder that lived through so many ticks."""
    recorder, chance = log.recorder(EMBODIMENT), np.random.default_rng(0)
    for tick in range(ticks):
        values = {key: np.full((16, 16, 3), 40 + tick, np.uint8) for key in EMBODIMENT.image_keys}
        values["observation.state"] = chance.uniform(-1, 1, 8).astype(np.float32)
        chunk = Chunk(np.tile(ACTION, (chunk_length, 1)), 0.1 * tick, 0.1 * tick, 0.1)
        observed = Observed(values, 0.1 * tick)
        recorder.note(Moment(tick, 0.1 * tick, observed, chunk, ACTION, ACTION, ("no_action",), ()))
    return recorder


def test_a_flight_record_is_a_data_set_that_explanations_read(tmp_path):
    log = FlightLog(tmp_path / "flight", 60.0)
    recorder = flown(log, 12)
    log.write(recorder, "parking/test/3", {"outcome": "broken_off"})
    dataset = LeRobotDataset(tmp_path / "flight")
    dataset.require_embodiment(EMBODIMENT)
    recording = read_recording(dataset, 0)
    assert len(recording.frames) == 12 and recording.rate_hz == EMBODIMENT.rate_hz
    expected = recorder.columns()
    frame = recording.frames[7]
    np.testing.assert_array_equal(frame.action, ACTION)
    np.testing.assert_array_equal(
        frame.observation["observation.state"], expected["observation.state"][7]
    )
    assert frame.observation[EMBODIMENT.image_keys[2]].mean() == pytest.approx(47.0, abs=3.0)
    np.testing.assert_array_equal(
        dataset.columns("controller.interventions"), expected["controller.interventions"]
    )
    assert "no_action" in dataset.features["controller.interventions"]["names"]
    (line,) = (tmp_path / "flight/meta/collection.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] == "broken_off"


def test_every_drive_is_an_episode_whatever_the_length_of_its_chunks(tmp_path):
    log = FlightLog(tmp_path / "flight", 60.0)
    for ticks, chunk_length in ((5, 4), (7, 2), (3, 6)):
        log.write(flown(log, ticks, chunk_length), "drive", {})
    dataset = LeRobotDataset(tmp_path / "flight")
    assert dataset.episodes.length.tolist() == [5, 7, 3]
    assert dataset.columns("controller.chunk_length").tolist() == [4] * 5 + [2] * 7 + [4] * 3


def test_nothing_is_written_of_a_drive_without_a_tick(tmp_path):
    log = FlightLog(tmp_path / "flight", 60.0)
    log.write(log.recorder(EMBODIMENT), "drive", {})
    assert not (tmp_path / "flight").exists()


def test_a_folder_that_holds_a_data_set_is_refused(tmp_path):
    log = FlightLog(tmp_path, 60.0)
    log.write(flown(log, 2), "drive", {})
    with pytest.raises(ValueError, match="holds a data set already"):
        FlightLog(tmp_path, 60.0)


def test_a_record_that_can_not_be_written_hides_no_other_error(tmp_path, caplog):
    (tmp_path / "flight").write_text("a file where the folder should be")
    log = FlightLog(tmp_path / "flight", 60.0)
    with caplog.at_level(logging.ERROR):
        log.write(flown(log, 2), "drive", {})
    assert "is lost" in caplog.text
