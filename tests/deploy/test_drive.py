import json

import numpy as np
from serving import EMBODIMENT, FakeModel, ServerThread

from helmsight.cli.main import main


class BlindModel(FakeModel):
    """Reads no image, so that the car makes none; drives ahead slowly."""

    observation_keys = ("observation.state",)

    def decide(self, observations):
        actions = np.zeros((len(observations), 4, EMBODIMENT.action.size), np.float32)
        actions[:, :, 0] = 0.2
        return actions


def test_the_parking_car_is_driven_and_the_drive_recorded(tmp_path):
    with ServerThread(BlindModel()) as server:
        words = [f"server={server.address}", "simulator=kinematic", "max_seconds=1"]
        assert main(["drive", *words, f"out={tmp_path}"]) == 1  # not parked within a second
    (line,) = (tmp_path / "drives.jsonl").read_text().splitlines()
    summary = json.loads(line)
    assert summary["outcome"] == "time_is_up" and summary["robot"] == "parking/standard/test/0"
    assert summary["ticks"] + summary["missed_ticks"] >= 9
    assert summary["decisions"] >= 1


def test_a_drive_without_a_server_says_so(capsys):
    assert main(["drive", "server=ws://127.0.0.1:9", "wait_for_server=0.1"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_a_drive_with_wrong_settings_ends_before_it_begins(capsys):
    assert main(["drive", "merge=mean"]) == 2
    assert "unknown merge 'mean'" in capsys.readouterr().err
