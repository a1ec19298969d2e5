"""Sensor streams and the drift of motion models along them."""

import json
import math

import numpy as np
import pytest

from helmsight.cli.drift import run
from helmsight.envs.geometry import Pose
from helmsight.envs.parking.motion_model import BicycleMotion, MotionEstimate
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.eval.drift import measure_drift, paired_drift, summarise_drift
from helmsight.eval.sensor_streams import Drive, SensorStream, StreamSettings, sensor_streams
from helmsight.eval.sources import ExpertSource
from helmsight.policies.motion import MotionConfig, MotionNetwork

STATISTICS = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}
SCENARIO = make_scenario("standard", "val", 0)


def settings(out, **changes):
    options = {"cameras": "none", "simulator": "kinematic"}
    values = {"families": ("standard",), "split": "val", "episodes": 2, "env_options": options}
    return StreamSettings(ExpertSource(), out, **{**values, **changes})


def winding(periods):
    """A stream whose car follows known motions from the scenario's start."""
    motions = [Pose(0.1, 0.0, 0.02 * math.sin(0.3 * period)) for period in range(periods)]
    poses = [SCENARIO.start]
    for motion in motions:
        poses.append(poses[-1].transform(motion))
    stream = SensorStream(np.zeros((periods + 1, 5)), np.zeros((periods, 3)), np.array(poses))
    return stream, motions


class Claims:
    """Says the motions that it is given, with errors, and claims a standard deviation."""

    def __init__(self, motions, errors, deviation):
        self.motions, self.errors, self.deviation = motions, errors, deviation

    def start(self, reading):
        self.said = iter(zip(self.motions, self.errors, strict=True))

    def update(self, command, reading):
        motion, error = next(self.said)
        variance = (self.deviation**2,) * 3
        moved = Pose(*(entry + change for entry, change in zip(motion, error, strict=True)))
        return MotionEstimate(moved, variance, variance)


def test_a_perfect_model_does_not_drift():
    stream, motions = winding(40)
    model = Claims(motions, np.zeros((40, 3)), 1e-3)
    drift = measure_drift(Drive("standard", 0), stream, SCENARIO, model)
    assert drift.placement == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert drift.deviations == pytest.approx(np.zeros((40, 3)), abs=1e-6)


def test_a_yaw_error_turns_the_target_about_the_car():
    stream, motions = winding(1)
    model = Claims(motions, [(0.0, 0.0, 0.1)], 1e-3)
    drift = measure_drift(Drive("standard", 0), stream, SCENARIO, model)
    end, target = stream.pose(-1), SCENARIO.target
    assert drift.placement.yaw == pytest.approx(-0.1)
    believed = end.transform(Pose(0.0, 0.0, -0.1)).transform(end.relative(target))
    middle = [pose.transform(Pose(1.4, 0.0, 0.0)) for pose in (believed, target)]
    distance = math.hypot(middle[0].x - middle[1].x, middle[0].y - middle[1].y)
    assert drift.placement.distance == pytest.approx(distance, abs=1e-6)


def test_honest_claims_hold_as_often_as_a_gaussian_says():
    random, drifts = np.random.default_rng(0), []
    stream, motions = winding(60)
    for episode in range(40):
        errors = 1e-3 * random.standard_normal((60, 3))
        model = Claims(motions, errors, 1e-3)
        drifts.append(measure_drift(Drive("standard", episode), stream, SCENARIO, model))
    calibration = summarise_drift(drifts)["calibration"]
    for component in ("x", "y", "yaw"):
        period = calibration["period"][component]
        assert period["within_1_sigma"]["value"] == pytest.approx(0.683, abs=0.03)
        assert period["within_2_sigma"]["value"] == pytest.approx(0.954, abs=0.02)
        end = calibration["end_of_episode"][component]["within_2_sigma"]
        assert end["low"] <= 0.954 <= end["high"] + 0.05


def test_the_share_of_the_success_box_is_that_of_the_worst_entry():
    stream, motions = winding(1)
    tilted = Claims(motions, [(0.0, 0.0, math.radians(12.0))], 1e-3)
    drift = measure_drift(Drive("standard", 0), stream, SCENARIO, tilted)
    assert drift.share_of_box >= 1.2
    assert summarise_drift([drift])["outside_success_box"]["value"] == 1.0


def test_models_are_compared_over_the_same_episodes_only():
    stream, motions = winding(5)
    model = Claims(motions, np.zeros((5, 3)), 1e-3)
    first, second = (
        measure_drift(Drive("standard", index), stream, SCENARIO, model) for index in (0, 1)
    )
    assert paired_drift([first], [first])["position_m"]["value"] == 0.0
    with pytest.raises(ValueError, match="same episodes"):
        paired_drift([first], [second])


def test_the_bicycle_claims_nothing():
    stream, _ = winding(5)
    drift = measure_drift(Drive("standard", 0), stream, SCENARIO, BicycleMotion())
    assert drift.deviations is None
    assert "calibration" not in summarise_drift([drift])


def test_streams_are_driven_once_and_kept(tmp_path):
    first = dict(sensor_streams(settings(tmp_path)))
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}
    again = dict(sensor_streams(settings(tmp_path)))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")} == times
    assert list(first) == list(again) == [Drive("standard", 0), Drive("standard", 1)]
    for drive, stream in first.items():
        assert len(stream.readings) == len(stream.poses) == len(stream.commands) + 1
        assert np.array_equal(stream.readings, again[drive].readings)
        assert stream.pose(0) == make_scenario("standard", "val", drive.episode).start


def test_streams_of_another_split_are_refused(tmp_path):
    list(sensor_streams(settings(tmp_path, episodes=1)))
    with pytest.raises(ValueError, match="split"):
        list(sensor_streams(settings(tmp_path, episodes=1, split="test")))


def test_a_damaged_stream_is_named(tmp_path):
    list(sensor_streams(settings(tmp_path, episodes=1)))
    (tmp_path / "standard-0000.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"standard-0000\.npz is no readable"):
        list(sensor_streams(settings(tmp_path, episodes=1)))


def test_the_command_compares_a_model_with_the_bicycle(tmp_path, capsys):
    config = MotionConfig(width=8)
    MotionNetwork(config, parking_embodiment("none"), STATISTICS).save(tmp_path / "motion")
    words = ["simulator=kinematic", "episodes=2", "split=val", f"out={tmp_path / 'out'}"]
    assert run([*words, f"motion={tmp_path / 'motion'}"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["models"]) == {"bicycle", "learned"}
    assert summary["models"]["learned"]["all"]["episodes"] == 4
    difference = summary["learned_minus_bicycle"]["all"]["position_m"]
    assert difference["value"] == pytest.approx(0.0, abs=1e-3)  # untrained, it is the bicycle
    assert "learned - bicycle, all" in capsys.readouterr().out


def test_an_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="families must be of standard, cluttered"):
        run([f"out={tmp_path}", "families=[crowded]"])
