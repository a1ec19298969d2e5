"""Videos: what goes in comes out, wherever one looks."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_dataset import pictures

from helmsight.training.dataset.frame_cache import stack_i420
from helmsight.training.dataset.video import decode_video, encode_video, i420_to_rgb, rgb_to_i420

FRAMES = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    encode_video(path, pictures(FRAMES, 1), 10)
    return path, decode_video(path, np.arange(FRAMES) / 10.0, 10)


def test_decoded_frames_look_like_those_encoded(video):
    decoded = np.stack([i420_to_rgb(picture) for picture in video[1]])
    error = np.abs(decoded.astype(int) - pictures(FRAMES, 1))
    assert error.mean(axis=(1, 2, 3)).max() < 4.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=12))
def test_random_access_gives_the_frames_of_sequential_decoding(video, frames):
    path, every = video
    assert np.array_equal(decode_video(path, np.array(frames) / 10.0, 10), every[frames])


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_plain_colour_survives_the_conversion(colour):
    frames = np.full((2, 8, 12, 3), colour, np.uint8)
    restored = i420_to_rgb(rgb_to_i420(frames)[1])
    assert np.abs(restored.astype(int) - frames[1]).max() <= 3


def test_luma_is_that_of_opencv():
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    expected = [cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)[:8] for frame in frames]
    assert np.array_equal(rgb_to_i420(frames)[:, :8], expected)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (6, 8), (10, 4)])
def test_a_stack_of_cameras_converts_like_each_camera(height, width):
    random = np.random.default_rng(0)
    cameras = random.integers(0, 256, (2, 3, height * 3 // 2, width), dtype=np.uint8)
    stacked = stack_i420(cameras)
    for frame in range(2):
        separate = np.concatenate([i420_to_rgb(picture) for picture in cameras[frame]])
        assert np.array_equal(i420_to_rgb(stacked[frame]), separate)
