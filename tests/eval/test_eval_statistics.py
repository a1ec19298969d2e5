import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.eval.statistics import (
    clustered_mean_interval,
    clustered_paired_difference,
    clustered_proportion,
    difference_of_means,
    independent_spread,
    mcnemar_exact,
    mean_interval,
    mean_of_group,
    paired_difference,
    pooled_spread,
    student_t_quantile,
    wilson,
)

counts = st.integers(0, 200)


@given(counts, counts)
def test_a_wilson_interval_lies_in_the_unit_range_around_its_value(successes, failures):
    interval = wilson(successes, successes + failures)
    if interval.n == 0:
        assert interval == (None, None, None, 0)
    else:
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


@given(st.integers(1, 200), st.data())
def test_a_wilson_interval_mirrors_when_success_and_failure_swap(n, data):
    successes = data.draw(st.integers(0, n))
    one, other = wilson(successes, n), wilson(n - successes, n)
    assert one.low == pytest.approx(1.0 - other.high, abs=1e-12)


def test_a_wilson_interval_has_the_published_limits():
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 81 of 263.
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_more_successes_than_trials_are_refused():
    with pytest.raises(ValueError, match="5 successes in 4 trials"):
        wilson(5, 4)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (95, 1.9853)]
)
def test_student_t_quantiles_are_the_tabulated_ones(degrees, quantile):
    assert student_t_quantile(0.975, degrees) == pytest.approx(quantile, abs=5e-5)


def test_a_mean_interval_is_the_mean_and_its_standard_error_times_t():
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * math.sqrt(5.0 / 3.0) / 2.0
    assert interval.value == 2.5
    assert interval.high - interval.value == pytest.approx(half, rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(0.1, 10.0))
def test_a_mean_interval_scales_with_its_values(values, factor):
    scaled = mean_interval([factor * value for value in values])
    assert scaled.high == pytest.approx(mean_interval(values).scaled(factor).high, abs=1e-6)


def test_one_value_has_a_mean_but_no_interval():
    assert mean_interval([3.0]) == (3.0, None, None, 1)


@given(st.lists(st.floats(0.0, 100.0), min_size=2, max_size=30))
def test_clusters_of_one_value_give_the_plain_mean_interval(values):
    clustered = clustered_mean_interval([[value] for value in values])
    assert clustered.high == pytest.approx(mean_interval(values).high, abs=1e-6)


def test_repeating_a_value_within_its_cluster_adds_no_certainty():
    once = clustered_mean_interval([[1.0], [2.0], [4.0]])
    often = clustered_mean_interval([[1.0] * 50, [2.0] * 50, [4.0] * 50])
    assert often.high == pytest.approx(once.high)


def test_mcnemar_has_the_p_value_of_a_fair_coin():
    assert mcnemar_exact(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_does_not_care_which_came_first(first, second):
    assert 0.0 < mcnemar_exact(first, second) == mcnemar_exact(second, first) <= 1.0


def test_a_paired_difference_has_the_published_limits():
    # Newcombe 1998, Statistics in Medicine 17:2635, table II: 36, 12, 2, 0 of 50.
    interval = paired_difference(36, 12, 2, 0)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0569, 0.3404)


@given(counts, counts, counts, counts)
def test_a_paired_difference_changes_sign_when_the_two_swap(both, first, second, neither):
    one = paired_difference(both, first, second, neither)
    other = paired_difference(both, second, first, neither)
    if one.n > 0:
        assert -1.0 <= one.low <= one.value + 1e-12 and one.value - 1e-12 <= one.high <= 1.0
        assert one.low == pytest.approx(-other.high, abs=1e-12)


OUTCOMES = st.lists(st.booleans(), min_size=2, max_size=40)


@given(OUTCOMES)
def test_groups_of_one_have_wilson_s_interval(outcomes):
    clustered = clustered_proportion([[outcome] for outcome in outcomes])
    assert clustered[:3] == pytest.approx(wilson(sum(outcomes), len(outcomes))[:3])


@given(OUTCOMES, st.integers(2, 5))
def test_seeds_that_all_do_the_same_add_no_certainty(outcomes, seeds):
    clustered = clustered_proportion([[outcome] * seeds for outcome in outcomes])
    assert clustered[:3] == pytest.approx(wilson(sum(outcomes), len(outcomes))[:3])


def test_seeds_that_differ_within_episodes_count_as_trials_of_their_own():
    groups = [[True, False]] * 20
    assert clustered_proportion(groups)[:3] == pytest.approx(wilson(20, 40)[:3])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=30))
def test_several_seeds_say_at_least_as_much_as_one_and_at_most_as_many_trials(groups):
    n, successes = len(groups), sum(map(sum, groups))
    clustered = clustered_proportion(groups)
    trials = wilson(successes, 3 * n)
    assert clustered.high - clustered.low >= trials.high - trials.low - 1e-9
    if successes % 3 == 0:
        one = wilson(successes // 3, n)
        assert clustered.high - clustered.low <= one.high - one.low + 1e-9


def test_groups_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"same number of members, got \[1, 2\]"):
        clustered_proportion([[True], [True, False]])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_pairs_of_one_have_newcombe_s_interval(pairs):
    cells = [(True, True), (True, False), (False, True), (False, False)]
    clustered = clustered_paired_difference([[a] for a, _ in pairs], [[b] for _, b in pairs])
    assert clustered[:3] == pytest.approx(paired_difference(*map(pairs.count, cells))[:3])


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=30))
def test_a_difference_over_seeds_has_width_and_stays_within_one(groups):
    first, second = [group[:2] for group in groups], [group[2:] for group in groups]
    difference = clustered_paired_difference(first, second)
    assert -1.0 <= difference.low < difference.high <= 1.0
    swapped = clustered_paired_difference(second, first)
    assert swapped[:3] == pytest.approx((-difference.value, -difference.high, -difference.low))


def test_equal_variants_that_always_park_leave_a_difference_open():
    always = [[True, True]] * 10
    difference = clustered_paired_difference(always, always)
    assert difference.value == 0.0
    assert difference.low < -0.2 and difference.high > 0.2


def test_of_two_groups_the_difference_of_means_has_student_s_interval():
    # Means 2 and 5, squares 2 and 8 on 2 degrees of freedom each: s^2 = 10 / 4.
    first, second = [1.0, 2.0, 3.0], [3.0, 5.0, 7.0]
    spread = pooled_spread([first, second])
    assert spread.degrees == 4
    interval = difference_of_means(first, second, spread)
    half = 2.776445 * math.sqrt(10 / 4 * 2 / 3)
    assert interval == pytest.approx((-3.0, -3.0 - half, -3.0 + half, 3), rel=1e-6)


def test_more_groups_narrow_the_interval_of_a_difference_between_two():
    first, second, third = [1.0, 3.0], [4.0, 6.0], [7.0, 9.0]
    two = difference_of_means(first, second, pooled_spread([first, second]))
    three = difference_of_means(first, second, pooled_spread([first, second, third]))
    assert three.value == two.value
    assert three.high - three.low < two.high - two.low


def test_groups_of_one_have_no_spread_and_their_difference_no_interval():
    assert pooled_spread([[1.0], [2.0]]) == (None, 0)
    assert difference_of_means([3.0], [2.0], pooled_spread([[3.0], [2.0]])) == (1.0, None, None, 1)
    assert difference_of_means([], [2.0], pooled_spread([[2.0]])).value is None


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_spread_within_groups_does_not_see_where_the_groups_lie(groups):
    moved = [[value + 10.0 * index for value in group] for index, group in enumerate(groups)]
    one, other = pooled_spread(groups), pooled_spread(moved)
    assert one.degrees == other.degrees
    assert one.deviation == pytest.approx(other.deviation, abs=1e-6)


def test_a_spread_is_never_less_than_what_is_known_otherwise():
    equal = [[5.0, 5.0], [7.0, 7.0]]
    assert pooled_spread(equal).deviation == 0.0
    assert pooled_spread(equal, least=1.5).deviation == 1.5
    assert pooled_spread([[1.0, 9.0]], least=1.5).deviation > 5.0


def test_the_spread_of_independent_groups_is_that_of_a_mean_of_coin_tosses():
    # Of 100 episodes, half are decided by a coin: variance 1/2 each between two trainings.
    groups = [[True, False]] * 50 + [[True, True]] * 50
    assert independent_spread(groups) == pytest.approx(math.sqrt(50 * 0.5) / 100)
    assert independent_spread([[True], [False]]) == 0.0


def test_the_mean_of_a_group_takes_its_interval_from_the_spread():
    interval = mean_of_group([1.0, 3.0], pooled_spread([[1.0, 3.0], [4.0, 4.0]]))
    half = 4.302653 * 1.0 / math.sqrt(2)
    assert interval == pytest.approx((2.0, 2.0 - half, 2.0 + half, 2), rel=1e-6)
    assert mean_of_group([3.0], pooled_spread([[3.0]])) == (3.0, None, None, 1)
