"""What a data set remembers of the settings of its rounds."""

import json

import pytest
from fake_collection import FakeCollection

from helmsight.training.collection import collect
from helmsight.training.collection.settings import SETTINGS_PATH
from helmsight.training.dataset.writer import DatasetWriter


def run(out, episodes, **options):
    return collect(FakeCollection(out, episodes, workers=0, **options), show_progress=False)


def contents(root):
    return {path: path.read_bytes() for path in (root / "meta").rglob("*") if path.is_file()}


def seeds(root):
    """The seed of each round that the data set remembers."""
    rounds = json.loads((root / SETTINGS_PATH).read_text())["rounds"]
    return {number: settings["seed"] for number, settings in rounds.items()}


def test_a_round_with_nothing_left_to_collect_changes_nothing(tmp_path):
    run(tmp_path, episodes=2)
    before = contents(tmp_path)
    assert run(tmp_path, episodes=2, round=2, seed=7).new_episodes == 0
    assert contents(tmp_path) == before


def test_a_round_that_finds_another_collection_under_way_changes_nothing(tmp_path):
    run(tmp_path, episodes=2)
    before = contents(tmp_path)
    with (
        DatasetWriter.open(tmp_path),
        pytest.raises(ValueError, match="another process is writing"),
    ):
        run(tmp_path, episodes=4, round=2, seed=7)
    assert contents(tmp_path) == before


def test_a_round_without_an_attempt_may_be_of_other_settings(tmp_path):
    run(tmp_path, episodes=2)
    settings = json.loads((tmp_path / SETTINGS_PATH).read_text())
    settings["rounds"]["2"] = {**settings["rounds"]["1"], "seed": 7}
    (tmp_path / SETTINGS_PATH).write_text(json.dumps(settings))
    run(tmp_path, episodes=3, round=2, seed=8)
    assert seeds(tmp_path) == {"1": 0, "2": 8}


def test_a_round_with_attempts_keeps_its_settings(tmp_path):
    run(tmp_path, episodes=2)
    run(tmp_path, episodes=3, round=2, seed=7)
    with pytest.raises(ValueError, match=r"seed is 8, there it was 7.*round=3"):
        run(tmp_path, episodes=4, round=2, seed=8)
    assert seeds(tmp_path) == {"1": 0, "2": 7}


def test_a_first_round_of_another_number_makes_no_data_set(tmp_path):
    with pytest.raises(ValueError, match="holds 0 rounds; the next is round 1, got round 2"):
        run(tmp_path / "new", episodes=1, round=2)
    assert not (tmp_path / "new").exists()
