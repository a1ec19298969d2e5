"""Staging refuses what cannot be stored, naming it."""

import pickle

import numpy as np
import pytest
from small_dataset import FPS, all_features, episode

from helmsight.training.dataset.staging import stage_episode


def stage_with(folder, **changes):
    features = all_features()
    columns = {**episode(features, 4, 0), **changes}
    return stage_episode(
        folder, features, FPS, {key: c for key, c in columns.items() if c is not None}, "park"
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("action", None, "missing.*action"),
        ("actions", np.zeros((4, 2)), "unknown.*actions"),
        ("action", np.zeros((4, 3), np.float32), "'action'.*expected shape.*2"),
        ("action", np.zeros((3, 2), np.float32), "same number.*'action': 3"),
        ("action", np.full((4, 2), np.nan, np.float32), "'action': NaN"),
        ("next.done", np.zeros(4), "'next.done': expected bool, got float64"),
        ("observation.images.front", np.zeros((4, 32, 32, 3)), "must be uint8"),
        ("observation.images.front", np.zeros((4, 32, 30, 3), np.uint8), "images.front.*shape"),
    ],
)
def test_a_column_that_does_not_fit_is_named(tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message):
        stage_with(tmp_path / "a", **{key: value})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"dtype": "float16", "shape": [2]}, "float16"),
        ({"dtype": "float32"}, "lacks shape"),
        ({"dtype": "video", "shape": [31, 32, 3]}, "even"),
        ({"dtype": "image", "shape": [31, 32]}, "image needs shape"),
    ],
)
def test_a_feature_that_cannot_be_stored_is_named(tmp_path, feature, message):
    with pytest.raises(ValueError, match=message):
        stage_episode(tmp_path / "a", {"x": feature}, FPS, {}, "park")


def test_an_automatic_feature_is_refused(tmp_path):
    features = {"timestamp": {"dtype": "float32", "shape": [1], "names": None}}
    with pytest.raises(ValueError, match=r"timestamp.*filled in by the writer"):
        stage_episode(tmp_path / "a", features, FPS, {"timestamp": np.zeros(3)}, "park")


def test_a_staged_episode_crosses_process_borders(tmp_path):
    staged = stage_with(tmp_path / "a")
    content = pickle.dumps(staged)
    assert pickle.loads(content).length == 4
    assert len(content) < 20_000
