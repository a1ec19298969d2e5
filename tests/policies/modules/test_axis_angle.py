import math

import cv2
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from helmsight.policies.modules.axis_angle import rotation_columns

entry = st.floats(-math.pi, math.pi)


@given(st.tuples(entry, entry, entry))
def test_the_columns_are_those_of_the_rotation_matrix(vector):
    matrix, _ = cv2.Rodrigues(np.array(vector))
    columns = rotation_columns(torch.tensor([vector], dtype=torch.float64))[0].numpy()
    assert np.allclose(columns, matrix[:, :2].T.reshape(-1), atol=1e-9)


def test_half_a_turn_either_way_about_is_the_same():
    turns = torch.tensor([[math.pi, 0.0, 0.0], [-math.pi, 0.0, 0.0]], dtype=torch.float64)
    first, second = rotation_columns(turns)
    assert torch.allclose(first, second, atol=1e-9)


def test_mixed_precision_does_not_round_an_orientation():
    turns = torch.tensor([[0.3, -1.2, 2.0], [3.1, 0.01, -0.2]])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = rotation_columns(turns)
    assert torch.equal(mixed, rotation_columns(turns))
