import json
import signal
import subprocess
import sys
import time

import numpy as np
from serving import EMBODIMENT, FakeModel, ServerThread, wait_for

from helmsight.cli.main import main
from helmsight.training.dataset.reader import LeRobotDataset


class BlindModel(FakeModel):
    """Reads no image, so that the car makes none; drives ahead slowly."""

    observation_keys = ("observation.state",)

    def decide(self, observations):
        self.batches.append(len(observations))
        actions = np.zeros((len(observations), 4, EMBODIMENT.action.size), np.float32)
        actions[:, :, 0] = 0.2
        return actions


def test_the_parking_car_is_driven_and_the_drive_recorded(tmp_path):
    with ServerThread(BlindModel()) as server:
        words = [f"server={server.address}", "simulator=kinematic", "max_seconds=1"]
        words += [f"out={tmp_path}", f"record={tmp_path / 'flight'}"]
        assert main(["drive", *words]) == 1  # not parked within a second
    (line,) = (tmp_path / "drives.jsonl").read_text().splitlines()
    summary = json.loads(line)
    assert summary["outcome"] == "time_is_up" and summary["robot"] == "parking/standard/test/0"
    assert summary["ticks"] + summary["missed_ticks"] >= 9
    assert summary["decisions"] >= 1
    flight = LeRobotDataset(tmp_path / "flight")
    assert flight.num_frames == summary["ticks"]
    assert flight.tasks == ["parking/standard/test/0"]


def test_sigterm_brakes_and_leaves_the_flight_record_of_what_was_driven(tmp_path):
    with ServerThread(BlindModel()) as server:
        words = [f"server={server.address}", "simulator=kinematic", f"record={tmp_path / 'flight'}"]
        command = [sys.executable, "-m", "helmsight.cli.main", "drive", *words]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: bool(server.model.batches))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60.0)
    assert process.returncode == 130 and "stopped by SIGTERM" in said
    flight = LeRobotDataset(tmp_path / "flight")
    assert flight.num_episodes == 1 and flight.num_frames >= 2
    assert flight.columns("controller.tick")[0] == 0
    (line,) = (tmp_path / "flight/meta/collection.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] == "broken_off"


def test_a_drive_without_a_server_says_so(capsys):
    assert main(["drive", "server=ws://127.0.0.1:9", "wait_for_server=0.1"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_a_drive_with_wrong_settings_ends_before_it_begins(capsys):
    assert main(["drive", "merge=mean"]) == 2
    assert "unknown merge 'mean'" in capsys.readouterr().err
