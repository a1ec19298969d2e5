"""Training windows hold the frames that the offsets name, and nothing is decoded in vain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_dataset import record

from helmsight.training.dataset.format import DatasetError
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.throughput import measure_windows_per_second
from helmsight.training.dataset.windows import Windows

FRONT, REAR = "observation.images.front", "observation.images.rear"
DEPTH, BIRDS_EYE = "observation.depth.front", "observation.birds_eye"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return LeRobotDataset(record(tmp_path_factory.mktemp("windows") / "set", 4))


def test_a_batch_has_the_shapes_and_types_of_the_contract(dataset):
    keys = [FRONT, REAR, "observation.state", "action", DEPTH, BIRDS_EYE, "next.done"]
    windows = Windows(dataset, {"action": [0, 1, 2]}, keys, range(4))
    described = {
        key: (tuple(tensor.shape), tensor.dtype) for key, tensor in windows.batch([0, 7]).items()
    }
    assert described == {
        FRONT: ((2, 32, 32, 3), torch.uint8),
        REAR: ((2, 32, 32, 3), torch.uint8),
        "observation.state": ((2, 3), torch.float32),
        "action": ((2, 3, 2), torch.float32),
        "action_is_pad": ((2, 3), torch.bool),
        DEPTH: ((2, 16, 16), torch.int32),
        BIRDS_EYE: ((2, 20, 24), torch.uint8),
        "next.done": ((2,), torch.bool),
    }


@settings(deadline=None, max_examples=40)
@given(
    offsets=st.lists(st.integers(-8, 8), min_size=1, max_size=5),
    episodes=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True),
    stride=st.integers(1, 4),
    data=st.data(),
)
def test_offsets_stop_at_the_episodes_ends(dataset, offsets, episodes, stride, data):
    windows = Windows(dataset, {"action": offsets}, ["index"], episodes, stride)
    bounds = dataset.episode_bounds[episodes]
    expected = [(frame, *b) for b in bounds for frame in range(b[0], b[1], stride)]
    assert len(windows) == len(expected)
    position = data.draw(st.integers(0, len(windows) - 1))
    batch = windows.batch([position])
    frame, first, end = expected[position]
    assert batch["index"].item() == frame
    for column, offset in enumerate(offsets):
        clamped = min(max(frame + offset, first), end - 1)
        assert batch["action_is_pad"][0, column].item() == (clamped != frame + offset)
        assert np.array_equal(batch["action"][0, column], dataset.columns("action")[clamped])


def test_pictures_are_those_of_the_data_set(dataset):
    windows = Windows(dataset, {}, [REAR, FRONT, BIRDS_EYE], [1, 3])
    frames = [*range(4, 9), *range(15, 19)]
    batch = windows.batch(np.arange(len(windows)))
    for key in (FRONT, REAR):
        assert np.array_equal(batch[key].numpy(), dataset.frames(key, frames))
    classes = dataset.frames(BIRDS_EYE, frames)[..., 0] // 100
    assert np.array_equal(batch[BIRDS_EYE].numpy(), classes)
    assert classes.max() == 2


def test_pictures_with_offsets_get_a_time_axis(dataset):
    windows = Windows(dataset, {FRONT: [-1, 0]}, [FRONT], [0])
    batch = windows.batch([0, 2])
    assert batch[FRONT].shape == (2, 2, 32, 32, 3)
    assert np.array_equal(batch[FRONT][1].numpy(), dataset.frames(FRONT, [1, 2]))
    assert batch[f"{FRONT}_is_pad"].tolist() == [[True, False], [False, False]]


def test_depth_grids_are_row_major_millimetres(dataset):
    batch = Windows(dataset, {}, [DEPTH], [0]).batch([2])
    assert np.array_equal(batch[DEPTH][0].numpy().reshape(-1), dataset.columns(DEPTH)[2])


def test_without_pictures_no_frame_is_decoded_or_cached(tmp_path, monkeypatch):
    root = record(tmp_path / "set", 2)

    def decode(*arguments: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(LeRobotDataset, "video_frames", decode)
    monkeypatch.setattr(LeRobotDataset, "image_frames", decode)
    windows = Windows(LeRobotDataset(root), {"action": [0, 1]}, ["observation.state"], [0, 1])
    assert len(windows.batch(np.arange(len(windows)))["action"]) == len(windows)
    assert not (root / "cache").exists()


@pytest.mark.parametrize(
    ("offsets", "keys", "episodes", "stride", "message"),
    [
        ({}, ["velocity"], [0], 1, "no feature 'velocity'"),
        ({"action": []}, ["action"], [0], 1, "action.*not empty"),
        ({}, ["action"], [4], 1, "episodes must lie in 0 to 3"),
        ({FRONT: [0, 1]}, [FRONT], [0], 2, "front.*frame_stride=1"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(dataset, offsets, keys, episodes, stride, message):
    with pytest.raises((ValueError, DatasetError), match=message):
        Windows(dataset, offsets, keys, episodes, stride)


def test_throughput_counts_the_windows_of_a_data_set_on_disk(dataset):
    assert measure_windows_per_second(dataset.root, batch_size=4, seconds=0.1) > 100.0
