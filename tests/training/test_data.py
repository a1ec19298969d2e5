"""Training on data sets on disk; the networks and the loop have tests of their own."""

from pathlib import Path

import pytest
import torch

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig
from helmsight.training.collection import collect
from helmsight.training.collection.parking.settings import ParkingCollection
from helmsight.training.data import LeRobotTrainingData, train
from helmsight.training.dataset.format import embodiment_features
from helmsight.training.dataset.frame_cache import CacheLayout
from helmsight.training.dataset.writer import DatasetWriter
from helmsight.training.settings import TrainingSettings


def record(out: Path, episodes: int) -> None:
    settings = ParkingCollection(
        out=out, episodes=episodes, workers=0, simulator="kinematic", image_size=32
    )
    collect(settings, show_progress=False)


def settings(tmp_path: Path) -> TrainingSettings:
    return TrainingSettings(
        data=(tmp_path / "data",), out=tmp_path / "run", max_steps=1, batch_size=4, device="cpu"
    )


def make_blind_policy(embodiment, statistics):
    return ParkingPolicy(ParkingPolicyConfig(sees="nothing"), embodiment, statistics)


def test_the_same_data_set_always_has_the_same_contents(tmp_path):
    record(tmp_path / "data", episodes=2)
    first = LeRobotTrainingData(settings(tmp_path)).contents
    assert LeRobotTrainingData(settings(tmp_path)).contents == first
    assert first[0]["episodes"] == 2


def test_a_data_set_without_episodes_is_refused_by_its_name(tmp_path):
    robot = parking_embodiment("none")
    DatasetWriter.create(tmp_path / "data", embodiment_features(robot), 10, robot).close()
    with pytest.raises(ValueError, match=f"{tmp_path / 'data'} holds no episodes yet; collect"):
        train(settings(tmp_path), make_blind_policy)


def test_a_run_does_not_go_on_with_a_data_set_that_has_grown(tmp_path):
    record(tmp_path / "data", episodes=2)
    train(settings(tmp_path), make_blind_policy)
    record(tmp_path / "data", episodes=3)
    with pytest.raises(ValueError, match="another configuration: data_contents"):
        train(settings(tmp_path), make_blind_policy)


def test_episodes_recorded_while_a_run_goes_on_are_not_decoded_by_it(tmp_path, monkeypatch):
    record(tmp_path / "data", episodes=2)
    data = LeRobotTrainingData(settings(tmp_path))
    seeing = ParkingPolicy(ParkingPolicyConfig(sees="label"), data.embodiment, data.statistics)
    first = next(data.batches(seeing, start_step=0, process=0))
    record(tmp_path / "data", episodes=4)
    grown = LeRobotTrainingData(settings(tmp_path))
    assert next(grown.validation_batches(seeing)) is not None  # decodes the new ones
    decoded = []
    monkeypatch.setattr(CacheLayout, "write_episode", lambda _, episode: decoded.append(episode))
    again = next(data.batches(seeing, start_step=0, process=0))
    assert next(data.validation_batches(seeing)) is not None
    assert decoded == []
    for key, values in first.items():
        assert torch.equal(values, again[key])
