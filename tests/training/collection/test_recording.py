"""What is recorded of a frame."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from helmsight.training.collection.parking.recording import block_depth, parking_features
from helmsight.training.collection.parking.settings import ParkingCollection


def test_depth_blocks_hold_the_nearest_millimetres_row_by_row():
    depth = np.full((128, 128), 20.0, np.float32)
    depth[9, 23] = 1.2345  # Block (1, 2).
    depth[120:, 120:] = np.inf
    blocks = block_depth(depth).reshape(16, 16)
    assert blocks[1, 2] in (1234, 1235)
    assert blocks[2, 1] == 20000
    assert blocks[15, 15] == 65535


@given(arrays.arrays(np.float32, (32, 32), elements=st.floats(0.0, 200.0, width=32)))
def test_a_block_is_never_farther_than_any_of_its_pixels(depth):
    blocks = block_depth(depth).reshape(16, 16).astype(float)
    upscaled = np.kron(blocks, np.ones((2, 2)))
    assert (upscaled <= np.minimum(depth * 1000.0, 65535) + 0.51).all()


def test_depth_that_does_not_divide_into_blocks_is_refused():
    with pytest.raises(ValueError, match=r"multiple of 16 pixels, got \(20, 32\)"):
        block_depth(np.zeros((20, 32), np.float32))


def test_the_switches_choose_the_columns():
    def keys(**options):
        return set(parking_features(ParkingCollection(Path("unused"), 1, **options)))

    assert "observation.depth.rear" in keys()
    assert "observation.depth.rear" not in keys(depth=False)
    assert "observation.birds_eye" not in keys(birds_eye=False)
    assert keys(cameras="none", birds_eye=False) == {
        "observation.state",
        "action",
        "simulator.state",
        "next.done",
        "next.success",
    }
