"""Recording: what is committed stays, whatever happens."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_dataset
from small_dataset import FPS, add_episode, all_features, embodiment, episode, length_of, record

from helmsight.training.dataset import writer as writer_module
from helmsight.training.dataset.format import STATISTICS_PATH
from helmsight.training.dataset.metadata import load_collection_log, load_info
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.staging import stage_episode
from helmsight.training.dataset.writer import DatasetWriter


def assert_whole(root: Path, episodes: int) -> None:
    """Every episode is there with every frame of every feature, as it was recorded."""
    dataset = LeRobotDataset(root)
    assert dataset.num_episodes == episodes
    for number, (first, end) in enumerate(dataset.episode_bounds):
        recorded = episode(all_features(), length_of(number), number)
        assert np.array_equal(dataset.columns("action")[first:end], recorded["action"])
        frames = np.arange(first, end)
        birds_eye = dataset.frames("observation.birds_eye", frames)
        assert np.array_equal(birds_eye, recorded["observation.birds_eye"])
        for key in embodiment().image_keys:
            error = np.abs(dataset.frames(key, frames).astype(int) - recorded[key])
            assert error.mean() < 4.0


def assert_statistics_count_every_frame(root: Path) -> None:
    dataset = LeRobotDataset(root)
    assert int(dataset.statistics["index"]["count"][0]) == dataset.num_frames


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_recorded_episodes_are_read_back(tmp_path):
    assert_whole(record(tmp_path / "set", 3), 3)


def test_recording_goes_on_where_it_was_left(tmp_path):
    root = record(tmp_path / "set", 2)
    with DatasetWriter.open(root) as writer:
        assert writer.num_episodes == 2
        assert add_episode(writer, 2) == 2
    assert_whole(root, 3)


def test_episode_rows_spread_over_several_metadata_files(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "EPISODES_PER_METADATA_FILE", 4)
    features, count = small_dataset.vector_features(), 9
    root = record(tmp_path / "set", count, features)
    assert len(list((root / "meta" / "episodes").rglob("*.parquet"))) == 3
    actions = [episode(features, length_of(number), number)["action"] for number in range(count)]
    assert np.array_equal(LeRobotDataset(root).columns("action"), np.concatenate(actions))


def test_kill_9_at_any_instant_leaves_every_committed_episode_readable(tmp_path):
    root, random = tmp_path / "set", np.random.default_rng(0)
    promised = 0
    for _ in range(4):
        program = [sys.executable, small_dataset.__file__, str(root)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(random.integers(1, 4)):
                promised = int(process.stdout.readline()) + 1
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(random.uniform(0.0, 0.15))
            process.kill()
            printed = process.stdout.read().split("\n")
        promised = max([promised, *(int(line) + 1 for line in printed[:-1])])
        before_recovery = LeRobotDataset(root).num_episodes
        assert promised <= before_recovery <= promised + 1
        assert_whole(root, before_recovery)
        promised = before_recovery
    DatasetWriter.open(root).close()
    assert_whole(root, promised)
    # Until it is opened for writing, stats.json may already count the episode being committed.
    assert_statistics_count_every_frame(root)


def test_a_crash_before_any_rename_of_a_commit_loses_nothing(tmp_path, monkeypatch):
    root = record(tmp_path / "set", 1)
    snapshots: list[Path] = []
    rename = Path.replace

    def rename_after_snapshot(self: Path, target: Path) -> Path:
        snapshots.append(tmp_path / f"crash-{len(snapshots)}")
        shutil.copytree(root, snapshots[-1])
        return rename(self, target)

    with DatasetWriter.open(root) as writer:
        monkeypatch.setattr(Path, "replace", rename_after_snapshot)
        add_episode(writer, 1, "another task")
        monkeypatch.undo()
    # Two videos, tasks, episode rows, data, statistics, info.
    assert len(snapshots) == 7
    for crashed in snapshots:
        assert_columns_of_first_episode(crashed)
        with DatasetWriter.open(crashed) as writer:
            assert writer.num_episodes == 1
            assert [line["episode_index"] for line in load_collection_log(crashed)] == [0]
            add_episode(writer, 1, "another task")
        assert_whole(crashed, 2)
        assert files_below(crashed) == files_below(root)
        restored = (crashed / STATISTICS_PATH).read_text()
        assert restored == (root / STATISTICS_PATH).read_text()


def assert_columns_of_first_episode(root: Path) -> None:
    dataset = LeRobotDataset(root)
    assert dataset.num_episodes == 1
    recorded = episode(all_features(), length_of(0), 0)
    assert np.array_equal(dataset.columns("action"), recorded["action"])


@pytest.mark.parametrize("failing_call", [0, 1, 3, 5, 6, 9])
def test_a_full_disk_loses_no_finished_episode_and_says_so(tmp_path, monkeypatch, failing_call):
    root = record(tmp_path / "set", 2)
    writer = DatasetWriter.open(root)
    columns = episode(writer.features, length_of(2), 2)
    staged = stage_episode(writer.staging_folder / "a", writer.features, FPS, columns, "new task")
    before, calls, synced = files_below(root), [], os.fsync

    def full_disk(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_call + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"no space left.*2 episodes.*are safe") as caught:
        writer.commit(staged)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert writer.num_episodes == 2
    assert_whole(root, 2)
    if failing_call < 6:  # stopped before the first rename: nothing at all has changed
        assert files_below(root) == before
        assert writer.commit(staged) == 2
    else:
        writer.close()
        writer = DatasetWriter.open(root)
        add_episode(writer, 2, "new task")
    writer.close()
    assert_whole(root, 3)


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(errno.EIO, "I/O error")])
def test_an_episode_whose_last_wait_is_interrupted_is_in_with_its_line(
    tmp_path, monkeypatch, cause
):
    root = record(tmp_path / "set", 1)
    synced = writer_module.sync_folder

    def interrupted(folder: Path) -> None:
        synced(folder)
        if load_info(root)["total_episodes"] == 2:
            raise cause

    with DatasetWriter.open(root) as writer:
        monkeypatch.setattr(writer_module, "sync_folder", interrupted)
        with pytest.raises(type(cause)):
            add_episode(writer, 1)
        monkeypatch.undo()
        assert writer.num_episodes == 2
        assert add_episode(writer, 2) == 2
    assert_whole(root, 3)
    assert [line["episode_index"] for line in load_collection_log(root)] == [0, 1, 2]


def test_a_full_disk_while_staging_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    features = all_features()
    with pytest.raises(OSError, match=r"no space left.*was not stored"):
        stage_episode(tmp_path / "a", features, FPS, episode(features, 4, 0), "park")
    assert not (tmp_path / "a").exists()


def test_a_second_writer_is_refused(tmp_path):
    root = record(tmp_path / "set", 1)
    with DatasetWriter.open(root), pytest.raises(ValueError, match="another process is writing"):
        DatasetWriter.open(root)
    DatasetWriter.open(root).close()


def test_a_data_set_is_not_created_over_another(tmp_path):
    root = record(tmp_path / "set", 1)
    with pytest.raises(ValueError, match="already holds a data set"):
        record(root, 1)


def test_an_episode_of_other_features_is_refused(tmp_path):
    features = small_dataset.vector_features()
    staged = stage_episode(tmp_path / "a", features, FPS, episode(features, 4, 0), "park")
    with DatasetWriter.create(tmp_path / "set", all_features(), FPS, None) as writer:
        with pytest.raises(ValueError, match=r"differs.*observation\.state"):
            writer.commit(staged)
        assert writer.num_episodes == 0


def test_the_log_keeps_failures_and_drops_a_half_written_line(tmp_path):
    root = tmp_path / "set"
    with DatasetWriter.create(root, all_features(), FPS, embodiment()) as writer:
        writer.log_attempt({"reason": "collision"})
        add_episode(writer, 0)
    with (root / "meta" / "collection.jsonl").open("a") as file:
        file.write('{"episode_index": nu')
    DatasetWriter.open(root).close()
    assert load_collection_log(root) == [
        {"episode_index": None, "reason": "collision"},
        {"episode_index": 0, "attempt": 0},
    ]


def test_statistics_on_disk_are_those_of_all_frames(tmp_path):
    root = record(tmp_path / "set", 5)
    dataset = LeRobotDataset(root)
    for key in ("action", "observation.state", "index", "timestamp", "next.done"):
        values = dataset.columns(key).astype(np.float64).reshape(dataset.num_frames, -1)
        statistics = dataset.statistics[key]
        np.testing.assert_allclose(statistics["mean"], values.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(statistics["std"], values.std(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(statistics["min"], values.min(axis=0), rtol=1e-6)
        np.testing.assert_allclose(statistics["max"], values.max(axis=0), rtol=1e-6)
        assert statistics["count"].tolist() == [dataset.num_frames]
