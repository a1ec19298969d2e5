import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.path import Arc, Path, advance

lengths = st.floats(0.05, 6.0) | st.floats(-6.0, -0.05)
arcs = st.lists(st.builds(Arc, st.sampled_from((-0.2, -0.1, 0.0, 0.1, 0.2)), lengths), max_size=6)
starts = st.builds(Pose, st.floats(-9.0, 9.0), st.floats(-9.0, 9.0), st.floats(-3.0, 3.0))


def test_a_quarter_turn_ends_beside_and_ahead():
    pose = advance(np.zeros(3), 0.2, 5.0 * math.pi / 2.0)
    assert np.allclose(pose, (5.0, 5.0, math.pi / 2.0))


@given(starts, st.floats(-0.2, 0.2), st.floats(-9.0, 9.0), st.floats(0.0, 1.0))
def test_driving_an_arc_in_two_pieces_ends_where_driving_it_at_once_does(
    start, curvature, length, share
):
    pose = np.array(start)
    halfway = advance(pose, curvature, share * length)
    whole = advance(pose, curvature, length)
    assert np.allclose(advance(halfway, curvature, (1.0 - share) * length), whole)


@given(starts, arcs)
def test_the_legs_join_from_the_start_to_the_end(start, pieces):
    path = Path(start, pieces)
    samples = path.samples()
    assert np.allclose(samples[0], start)
    assert np.allclose(path.end.relative(Pose(*samples[-1])), 0.0, atol=1e-6)
    assert (np.hypot(*np.diff(samples[:, :2], axis=0).T) <= 0.05 + 1e-9).all()
    assert math.isclose(sum(leg.length for leg in path.legs()), path.length, abs_tol=1e-9)


@given(starts, arcs)
def test_each_leg_is_driven_in_one_gear(start, pieces):
    path = Path(start, pieces)
    legs = path.legs()
    assert path.gear_changes == max(0, len(legs) - 1)
    for leg in legs:
        steps = np.diff(leg.poses[:, :2], axis=0)
        middle = (leg.poses[1:, 2] + leg.poses[:-1, 2]) / 2.0
        forward = steps[:, 0] * np.cos(middle) + steps[:, 1] * np.sin(middle)
        assert (forward * leg.direction > 0.0).all()


def test_neighbouring_arcs_of_one_curvature_become_one():
    path = Path(Pose(0, 0, 0), [Arc(0.2, 1.0), Arc(0.2, 0.5), Arc(0.0, 1e-9), Arc(0.2, -1.0)])
    assert path.arcs == [Arc(0.2, 1.5), Arc(0.2, -1.0)]
