"""Statistics of parts give those of the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helmsight.training.dataset.statistics import (
    aggregate,
    counter_statistics,
    from_jsonable,
    image_statistics,
    to_jsonable,
    vector_statistics,
)

tables = arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.just(3)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)


@settings(deadline=None, max_examples=40)
@given(tables, tables)
def test_the_aggregate_of_two_parts_is_that_of_the_whole(left, right):
    merged = aggregate(vector_statistics(left), vector_statistics(right))
    whole = vector_statistics(np.concatenate([left, right]))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-9, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(tables)
def test_quantiles_rise_from_minimum_to_maximum(values):
    statistics = vector_statistics(values)
    names = ("min", "q01", "q10", "q50", "q90", "q99", "max")
    assert (np.diff([statistics[name] for name in names], axis=0) >= -1e-9).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(-1000, 1000), st.integers(0, 3), st.integers(1, 400))
def test_counters_in_closed_form_are_those_of_their_values(first, step, count):
    closed = counter_statistics(first, step, count)
    values = vector_statistics(first + step * np.arange(count)[:, None])
    for name, value in values.items():
        np.testing.assert_allclose(closed[name], value, rtol=1e-9, atol=1e-6)


def test_long_vectors_are_pooled_over_their_entries():
    values = np.arange(4 * 256).reshape(4, 256)
    statistics = vector_statistics(values)
    assert statistics["mean"].tolist() == [values.mean()]
    assert statistics["count"].tolist() == [4]


def test_image_statistics_are_per_channel_in_unit_range():
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    frames[..., 1] = 255
    frames[:, :, :4, 2] = 51
    statistics = image_statistics(frames)
    np.testing.assert_allclose(statistics["mean"].ravel(), [0.0, 1.0, 0.1])
    np.testing.assert_allclose(statistics["std"].ravel(), [0.0, 0.0, 0.1])
    np.testing.assert_allclose(statistics["q99"].ravel(), [0.0, 1.0, 0.2])


def test_statistics_survive_json_exactly():
    statistics = {"action": vector_statistics(np.random.default_rng(0).normal(size=(9, 2)))}
    restored = from_jsonable(to_jsonable(statistics))
    for name, value in statistics["action"].items():
        assert np.array_equal(restored["action"][name], value)
