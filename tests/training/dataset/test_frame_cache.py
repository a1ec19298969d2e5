"""The frame cache holds what the decoder gives, and notices what has changed."""

import errno
import fcntl
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_dataset import add_episode, embodiment, record

from helmsight.training.dataset.files import replace_file
from helmsight.training.dataset.frame_cache import (
    CacheLayout,
    delete_frame_caches,
    open_frame_cache,
)
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.writer import DatasetWriter

VIDEOS = list(embodiment().image_keys)
BIRDS_EYE = "observation.birds_eye"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp("cache") / "set", 4)


@pytest.fixture
def root(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "set", ignore=shutil.ignore_patterns("cache"))


@pytest.fixture
def written_episodes(monkeypatch):
    """Episodes that are decoded in this process, in order."""
    episodes: list[int] = []
    write = CacheLayout.write_episode

    def write_and_note(self: CacheLayout, episode: int) -> None:
        episodes.append(episode)
        write(self, episode)

    monkeypatch.setattr(CacheLayout, "write_episode", write_and_note)
    return episodes


def assert_cache_is_right(root, stride=1, workers=1):
    dataset = LeRobotDataset(root)
    cache = open_frame_cache(dataset, stride, workers, progress=False)
    kept = np.concatenate([np.arange(*bounds, stride) for bounds in dataset.episode_bounds])
    rows = cache.rows_of(kept)
    videos = cache.read_videos(VIDEOS, rows)
    for camera, key in enumerate(VIDEOS):
        assert np.array_equal(videos[:, camera], dataset.frames(key, kept))
    assert np.array_equal(cache.read_images(BIRDS_EYE, rows), dataset.frames(BIRDS_EYE, kept))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_cache_holds_what_the_decoder_gives(root, stride):
    assert_cache_is_right(root, stride)


def test_worker_processes_build_the_same_cache(root):
    assert_cache_is_right(root, workers=2)


def test_one_camera_alone_is_the_same_as_in_the_stack(recorded):
    dataset = LeRobotDataset(recorded)
    cache = open_frame_cache(dataset, progress=False)
    rows = np.array([3, 0, 11])
    both = cache.read_videos(VIDEOS, rows)
    assert np.array_equal(cache.read_videos(VIDEOS[1:], rows)[:, 0], both[:, 1])
    assert np.array_equal(cache.read_videos(VIDEOS[::-1], rows), both[:, ::-1])


def test_a_complete_cache_is_not_built_again(root, written_episodes):
    assert_cache_is_right(root)
    assert_cache_is_right(root)
    assert written_episodes == [0, 1, 2, 3]


def test_new_episodes_are_appended(root, written_episodes):
    assert_cache_is_right(root)
    with DatasetWriter.open(root) as writer:
        add_episode(writer, 4)
    assert_cache_is_right(root)
    assert written_episodes == [0, 1, 2, 3, 4]


def test_building_resumes_where_it_was_interrupted(root, monkeypatch, written_episodes):
    write = CacheLayout.write_episode

    def interrupted(self: CacheLayout, episode: int) -> None:
        if episode == 2:
            raise KeyboardInterrupt
        write(self, episode)

    with monkeypatch.context() as patch:
        patch.setattr(CacheLayout, "write_episode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_frame_cache(LeRobotDataset(root), progress=False)
    assert_cache_is_right(root)
    assert written_episodes == [0, 1, 2, 3]


def test_a_finer_cache_serves_a_coarser_stride(root, written_episodes):
    assert_cache_is_right(root, 1)
    assert_cache_is_right(root, 2)
    assert written_episodes == [0, 1, 2, 3]


def test_a_truncated_cache_is_built_again(root, written_episodes):
    assert_cache_is_right(root)
    path = root / "cache" / "frames-stride-1" / "videos.i420"
    path.write_bytes(path.read_bytes()[:-10])
    assert_cache_is_right(root)
    assert written_episodes == [0, 1, 2, 3] * 2


def test_pictures_are_on_the_device_before_the_index_says_so(root, monkeypatch):
    order = []
    module = "helmsight.training.dataset.frame_cache"
    monkeypatch.setattr(f"{module}.sync_file", lambda path: order.append(path.name))
    write = replace_file

    def note_and_write(path, data):
        order.append(path.name)
        write(path, data)

    monkeypatch.setattr(f"{module}.replace_file", note_and_write)
    dataset = LeRobotDataset(root)
    open_frame_cache(dataset, progress=False)
    pictures = set(CacheLayout(dataset, 1).row_shapes())
    assert order[-1] == "index.json"
    assert set(order[:-1]) == pictures


def test_a_complete_cache_is_used_where_nothing_can_be_written_or_locked(root, monkeypatch):
    open_frame_cache(LeRobotDataset(root), progress=False)

    def refuse(*_args, **_options):
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(CacheLayout, "allocate", refuse)
    assert_cache_is_right(root)


def test_a_cache_is_built_where_there_are_no_locks(root, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert_cache_is_right(root)


def test_the_cache_of_another_data_set_is_replaced(root, tmp_path):
    assert_cache_is_right(root)
    other = record(tmp_path / "other", 2)
    shutil.copytree(root / "cache", other / "cache")
    assert_cache_is_right(other)


def test_deleting_the_cache_is_safe(root):
    assert_cache_is_right(root)
    delete_frame_caches(root)
    assert not (root / "cache").exists()
    assert_cache_is_right(root)


def test_a_frame_that_was_not_kept_is_refused(root):
    cache = open_frame_cache(LeRobotDataset(root), 2, progress=False)
    with pytest.raises(ValueError, match=r"frame 5 is not in the cache.*every 2"):
        cache.rows_of(np.array([4, 5]))
