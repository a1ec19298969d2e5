from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.training.run_folder import RunFolder, config_differences, plain_data

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
CONFIGS = st.dictionaries(st.text(), st.recursive(SCALARS, st.lists))


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_an_equal_configuration_opens_the_run_again(tmp_path: Path) -> None:
    config = {"learning_rate": 1e-5, "betas": (0.9, 0.95), "data": Path("a"), "nested": {"x": None}}
    RunFolder.open(tmp_path, config, seed=0)
    RunFolder.open(tmp_path, config, seed=0)


@settings(max_examples=40, deadline=None)
@given(CONFIGS)
def test_a_configuration_equals_itself_after_a_round_trip(config: dict[str, object]) -> None:
    stored = yaml.safe_load(yaml.safe_dump(plain_data(config)))
    assert config_differences(stored, plain_data(config)) == []


def test_every_differing_key_is_named_and_no_other(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, {"a": {"b": 1, "c": 2}, "gone": 1}, seed=0)
    (tmp_path / "metrics.jsonl").write_text('{"step": 20}\n')
    with pytest.raises(ValueError) as caught:
        RunFolder.open(tmp_path, {"a": {"b": 1, "c": 3}, "new": 1}, seed=0)
    message = str(caught.value)
    assert "a.c was 2, is 3" in message
    assert "gone was 1, is '(absent)'" in message
    assert "new was '(absent)', is 1" in message
    assert "a.b" not in message


def test_a_run_that_failed_before_its_first_step_makes_room_for_another(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {"batch_size": 64}, seed=0) as folder:
        folder.start_logging(step=0)
    RunFolder.open(tmp_path, {"batch_size": 16}, seed=0)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"batch_size": 16}


def test_a_moved_run_is_the_same_run(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, {"out": "here", "x": 1}, seed=0)
    RunFolder.open(tmp_path, {"out": "there", "x": 1}, seed=0)


def test_a_folder_in_which_a_run_is_under_way_is_refused(tmp_path: Path) -> None:
    with (
        RunFolder.open(tmp_path, {"x": 1}, seed=0),
        pytest.raises(ValueError, match=f"another process is training in {tmp_path}"),
    ):
        RunFolder.open(tmp_path, {"x": 1}, seed=0)


def test_a_run_that_ended_frees_its_folder(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, {"x": 1}, seed=0) as ended:
        pass
    with RunFolder.open(tmp_path, {"x": 1}, seed=0) as other:
        assert other is not ended


def test_a_refused_configuration_leaves_the_folder_free(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, {"x": 1}, seed=0)
    (tmp_path / "metrics.jsonl").write_text('{"step": 20}\n')
    with pytest.raises(ValueError, match="another configuration") as caught:
        RunFolder.open(tmp_path, {"x": 2}, seed=0)
    assert caught.tb is not None  # which still holds what was opened
    RunFolder.open(tmp_path, {"x": 1}, seed=0)


def test_a_file_system_without_locks_can_be_trained_on(tmp_path: Path, monkeypatch) -> None:
    def without_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    RunFolder.open(tmp_path, {"x": 1}, seed=0)


def test_the_processes_of_one_run_share_its_folder(tmp_path: Path, monkeypatch) -> None:
    with RunFolder.open(tmp_path, {"x": 1}, seed=0):
        monkeypatch.setenv("RANK", "1")
        RunFolder.open(tmp_path, {"x": 1}, seed=0)


def test_lines_after_the_checkpoint_are_cut_and_so_is_a_torn_one(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    with RunFolder(tmp_path) as folder:
        folder.start_logging(step=2)
        folder.log(3, {"loss": 0.5, "parts": {"action": 0.5}})
    assert steps_in(metrics) == [1, 2, 3]
    assert json.loads(metrics.read_text().splitlines()[-1])["parts"] == {"action": 0.5}


def test_metrics_reach_tensorboard_by_their_path(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunFolder(tmp_path) as folder:
        folder.start_logging(step=0)
        folder.log(1, {"parts": {"action": 0.5}})
    board = EventAccumulator(str(tmp_path / "metrics"))
    board.Reload()
    assert board.Scalars("parts/action")[0].value == 0.5


def test_a_summary_is_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_summary() is None
    folder.write_summary({"steps": 3})
    assert folder.read_summary() == {"steps": 3}


def test_a_configuration_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="object"):
        plain_data({"x": object()})
