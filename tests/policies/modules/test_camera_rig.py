import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.spec import CameraSpec
from helmsight.policies.modules.camera_rig import CameraRig

# At the origin, looking along x; 90 degrees wide.
AHEAD = CameraSpec("ahead", (0.0, 0.0, 0.0), 0.0, 0.0, math.pi / 2.0, 100, 100, frame="world")
STILL = torch.zeros(1, 3)


def place(camera, point, hand=STILL, turned=STILL):
    return CameraRig([camera])(torch.tensor([[point]]), hand, turned)[0, 0, 0]


def test_what_stands_straight_ahead_is_in_the_middle():
    assert torch.allclose(place(AHEAD, (2.0, 0.0, 0.0)), torch.tensor([0.5, 0.5]))


def test_what_stands_to_the_left_and_above_is_in_the_upper_left():
    # 45 degrees are the picture's edge, half of their tangent half of the way.
    expected = torch.tensor([0.25, 0.25])
    assert torch.allclose(place(AHEAD, (2.0, 1.0, 1.0)), expected, atol=1e-6)


def test_a_mirrored_picture_shows_it_on_the_other_side():
    mirrored = CameraSpec(**{**vars(AHEAD), "mirrored": True})
    expected = torch.tensor([0.75, 0.25])
    assert torch.allclose(place(mirrored, (2.0, 1.0, 1.0)), expected, atol=1e-6)


@pytest.mark.parametrize("point", [(-1.0, 0.0, 0.0), (1.0, 1.5, 0.0), (0.0, 0.0, 0.0)])
def test_what_a_camera_does_not_see_has_no_place(point):
    assert place(AHEAD, point).isnan().all()


def test_a_camera_that_is_fixed_to_something_unknown_sees_nothing():
    strange = CameraSpec(**{**vars(AHEAD), "frame": "scene"})
    assert place(strange, (2.0, 0.0, 0.0)).isnan().all()


@given(
    st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3),
    st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
)
def test_a_camera_on_the_hand_sees_the_same_when_hand_and_world_move_together(shift, axis):
    on_hand = CameraSpec(**{**vars(AHEAD), "frame": "hand", "position": (-0.1, 0.05, 0.02)})
    point = np.array([1.5, 0.3, -0.2])
    angle = float(np.linalg.norm(axis))
    x, y, z = np.array(axis) / max(angle, 1e-9)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    moved = tuple((turn @ point + shift).tolist())
    hand, turned = (torch.tensor([values], dtype=torch.float32) for values in (shift, axis))
    expected = place(on_hand, tuple(point.tolist()))
    assert torch.allclose(place(on_hand, moved, hand, turned), expected, atol=1e-4)
