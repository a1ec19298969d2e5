import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from helmsight.deploy.chunks import MERGES, Chunk, ChunkSchedule, linear_blend, temporal_ensemble

PERIOD = 0.1


def chunk(first, observed_at, length=4, delay=0.0):
    """Actions [K, 1] that count up from `first`."""
    actions = np.arange(first, first + length, dtype=np.float32)[:, None]  # [K] -> [K, 1]
    return Chunk(actions, observed_at, observed_at + delay, PERIOD)


def schedule(*chunks, merge="latest", max_age=10.0):
    made = ChunkSchedule(merge, max_age)
    for one in chunks:
        made.add(one)
    return made


@given(some.floats(0.0, 1000.0), some.integers(1, 20), some.floats(0.0, 0.99))
def test_the_action_is_the_one_of_the_period_that_now_lies_in(observed_at, length, share):
    one = chunk(0.0, observed_at, length)
    for index in range(length):
        now = observed_at + (index + share) * PERIOD
        assert schedule(one).action(now) == pytest.approx(index)


@pytest.mark.parametrize("merge", MERGES)
def test_a_chunk_that_is_used_up_gives_nothing(merge):
    made = schedule(chunk(0.0, 5.0), merge=merge)
    assert made.action(5.39) == pytest.approx(3.0)
    assert made.action(5.4) is None


def test_a_chunk_that_comes_late_starts_in_its_middle():
    assert schedule(chunk(0.0, 5.0, delay=0.25)).action(5.25) == pytest.approx(2.0)


def test_a_chunk_that_comes_too_late_gives_nothing():
    assert schedule(chunk(0.0, 5.0, delay=1.0)).action(6.0) is None


def test_an_action_older_than_allowed_is_not_given():
    made = schedule(chunk(0.0, 5.0, length=50), max_age=0.3)
    assert made.action(5.25) == pytest.approx(2.0)
    assert made.action(5.35) is None


def test_the_newest_observation_decides():
    assert schedule(chunk(0.0, 5.0), chunk(100.0, 5.1)).action(5.25) == pytest.approx(101.0)


def test_a_chunk_of_an_older_observation_adds_nothing():
    assert schedule(chunk(100.0, 5.1), chunk(0.0, 5.0)).action(5.25) == pytest.approx(101.0)


def test_without_trust_nothing_is_left():
    made = schedule(chunk(0.0, 5.0))
    made.clear()
    assert made.action(5.0) is None


def test_a_blend_goes_linearly_from_the_older_chunk_to_the_newer():
    older = Chunk(np.zeros((4, 1), np.float32), 5.0, 5.0, PERIOD)
    newer = Chunk(np.ones((4, 1), np.float32), 5.1, 5.2, PERIOD)
    shares = [float(linear_blend([older, newer], now)[0]) for now in (5.2, 5.25, 5.3, 5.35, 5.399)]
    assert shares == pytest.approx([0.0, 0.25, 0.5, 0.75, 0.995])


def test_the_ensemble_weighs_the_oldest_most():
    older = Chunk(np.zeros((4, 1), np.float32), 5.0, 5.0, PERIOD)
    newer = Chunk(np.ones((4, 1), np.float32), 5.1, 5.1, PERIOD)
    weight = np.exp(-0.5)
    assert temporal_ensemble([older, newer], 5.2, 0.5) == pytest.approx(weight / (1.0 + weight))


@given(some.lists(some.floats(-1.0, 1.0), min_size=1, max_size=5), some.floats(0.0, 0.99))
def test_every_merge_stays_within_what_it_merges(values, share):
    made = [
        Chunk(np.full((8, 1), value, np.float32), 5.0 + i * PERIOD, 5.0 + i * PERIOD, PERIOD)
        for i, value in enumerate(values)
    ]
    now = made[-1].observed_at + share * PERIOD
    for merge in MERGES:
        action = schedule(*made, merge=merge).action(now)
        assert min(values) - 1e-5 <= action[0] <= max(values) + 1e-5


def test_an_unknown_merge_is_refused():
    with pytest.raises(ValueError, match="unknown merge 'mean'; expected one of latest"):
        ChunkSchedule("mean", 1.0)
