"""Intervals and tests for success rates and means, all closed-form: no resampling, no seed.

Everything defaults to 95 % confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple


class Interval(NamedTuple):
    """An estimate with its confidence interval, from `n` observations.

    `value` is None without observations; `low` and `high` are None where `n` is too small to say.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def scaled(self, factor: float) -> Interval:
        """The same interval in another unit, such as percent (`factor` > 0)."""
        value, low, high = (None if x is None else x * factor for x in self[:3])
        return Interval(value, low, high, self.n)

    def within(self, least: float, most: float) -> Interval:
        """The same interval with limits no further than what there can be."""
        if self.low is None or self.high is None:
            return self
        return self._replace(low=max(least, self.low), high=min(most, self.high))


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927), without continuity correction."""
    _check_counts(successes=successes, n=n)
    if successes > n:
        raise ValueError(f"got {successes} successes in {n} trials; expected at most {n}")
    if n == 0:
        return Interval(None, None, None, 0)
    p = successes / n
    return Interval(p, *_score_limits(p, n, confidence), n)


def _score_limits(p: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's limits of a proportion of `n` trials, which need not be whole."""
    z = _normal_quantile(confidence)
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The limits are exactly 0 and 1 at the extremes; rounding must not say otherwise.
    low = 0.0 if p == 0.0 else max(0.0, center - half)
    high = 1.0 if p == 1.0 else min(1.0, center + half)
    return low, high


def clustered_proportion(groups: Sequence[Sequence[bool]], confidence: float = 0.95) -> Interval:
    """Proportion over groups of equal size whose members may depend on each other.

    Wilson's limits at the effective sample size, p (1 - p) over the variance between the groups
    (Kish 1965; Korn & Graubard 1998): several trainings on one episode count as more than one
    episode only as far as they differ on it. Not less than the number of groups, nor more than that
    of members; groups of one give `wilson`. Raises ValueError for groups of different sizes.
    """
    rates = _group_rates(groups)
    if not rates:
        return Interval(None, None, None, 0)
    n = sum(map(len, groups))
    p = sum(map(sum, groups)) / n
    low, high = _score_limits(p, _effective_size(rates, p, n), confidence)
    return Interval(p, low, high, n)


def _effective_size(rates: Sequence[float], p: float, n: int) -> float:
    """Independent trials that tell as much of `p` as the groups' rates do."""
    if p in (0.0, 1.0):  # nothing says how far the members of a group depend on each other
        return len(rates)
    spread = fmean((rate - p) ** 2 for rate in rates)
    independent = len(rates) * p * (1.0 - p)
    if independent >= n * spread:
        return n
    return max(independent / spread, len(rates))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval on n - 1 degrees of freedom."""
    return mean_of_group(values, pooled_spread([values]), confidence)


def clustered_mean_interval(
    groups: Sequence[Sequence[float]], confidence: float = 0.95
) -> Interval:
    """Mean over all values of all groups, its interval robust to dependence within a group.

    The decisions of one episode are not independent, so the spread is taken between the groups:
    linearised variance of a ratio estimator (Cochran 1977, Sampling Techniques, section 6.3),
    Student's t on the number of groups - 1.
    """
    groups = [group for group in groups if len(group) > 0]
    n = sum(len(group) for group in groups)
    if n == 0:
        return Interval(None, None, None, 0)
    mean = sum(math.fsum(group) for group in groups) / n
    count = len(groups)
    if count == 1:
        return Interval(mean, None, None, n)
    squares = math.fsum((math.fsum(group) - mean * len(group)) ** 2 for group in groups)
    error = math.sqrt(count / (count - 1) * squares) / n
    return Interval(mean, *_student_limits(mean, error, count - 1, confidence), n)


class Spread(NamedTuple):
    """A standard deviation within groups, on so many degrees of freedom; None on none."""

    deviation: float | None
    degrees: int


def pooled_spread(groups: Sequence[Sequence[float]], least: float = 0.0) -> Spread:
    """Standard deviation of values around the mean of their own group, over all groups.

    Three trainings of one variant say little of how far trainings differ; those of many variants
    together say it well, where it is about the same for all of them. `least` is what is known to
    spread them by another way: values that happen to be equal do not make it less.
    """
    degrees = sum(len(group) - 1 for group in groups if group)
    if degrees == 0:
        return Spread(None, 0)
    squares = math.fsum((value - fmean(group)) ** 2 for group in groups for value in group)
    return Spread(max(math.sqrt(squares / degrees), least), degrees)


def independent_spread(groups: Sequence[Sequence[bool]]) -> float:
    """Standard deviation of a member's mean over the groups, were every group decided for itself.

    Trainings that each succeed in half of the scenes at random do not all come to the same rate,
    though now and then they do. Groups of one give 0.
    """
    rates = [(fmean(group), len(group)) for group in groups if len(group) > 1]
    variances = [rate * (1.0 - rate) * size / (size - 1) for rate, size in rates]
    return math.sqrt(math.fsum(variances)) / len(groups) if variances else 0.0


def difference_of_means(
    first: Sequence[float], second: Sequence[float], spread: Spread, confidence: float = 0.95
) -> Interval:
    """Mean of the first minus mean of the second, each value being off by the given spread.

    Student's t interval on the spread's degrees of freedom (Fisher's least significant difference,
    where the spread is pooled over more groups than these two); `n` is the smaller group's size.
    """
    n = min(len(first), len(second))
    if n == 0:
        return Interval(None, None, None, 0)
    value = fmean(first) - fmean(second)
    if spread.deviation is None:
        return Interval(value, None, None, n)
    error = spread.deviation * math.sqrt(1.0 / len(first) + 1.0 / len(second))
    return Interval(value, *_student_limits(value, error, spread.degrees, confidence), n)


def mean_of_group(values: Sequence[float], spread: Spread, confidence: float = 0.95) -> Interval:
    """Mean of values, each being off by the given spread; Student's t interval."""
    n = len(values)
    if n == 0:
        return Interval(None, None, None, 0)
    mean = fmean(values)
    if spread.deviation is None:
        return Interval(mean, None, None, n)
    error = spread.deviation / math.sqrt(n)
    return Interval(mean, *_student_limits(mean, error, spread.degrees, confidence), n)


def _student_limits(
    value: float, error: float, degrees: int, confidence: float
) -> tuple[float, float]:
    """Student's t limits of an estimate with this standard error."""
    half = student_t_quantile(0.5 + confidence / 2, degrees) * error
    return value - half, value + half


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947): binomial over the discordant pairs.

    `only_first` pairs succeeded with the first alone, `only_second` with the second alone.
    """
    _check_counts(only_first=only_first, only_second=only_second)
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> Interval:
    """Difference of two paired proportions, first minus second: Newcombe (1998), method 10.

    Wilson limits of the two margins, combined with the correlation of the pairs.
    """
    _check_counts(both=both, only_first=only_first, only_second=only_second, neither=neither)
    n = both + only_first + only_second + neither
    if n == 0:
        return Interval(None, None, None, 0)
    p1, low1, high1 = _proportion(both + only_first, n, confidence)
    p2, low2, high2 = _proportion(both + only_second, n, confidence)
    first = [1.0] * (both + only_first) + [0.0] * (only_second + neither)
    second = [1.0] * both + [0.0] * only_first + [1.0] * only_second + [0.0] * neither
    phi = _corrected_correlation(first, second)
    return _square_and_add((p1, low1, high1), (p2, low2, high2), phi, n)


def clustered_paired_difference(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], confidence: float = 0.95
) -> Interval:
    """Difference of two proportions over the same groups, first minus second.

    Newcombe's combination of the margins' limits for any two estimates (Zou & Donner 2008): the
    limits of `clustered_proportion`, and the correlation of the groups' rates. Groups of one on
    both sides give `paired_difference`. `n` is the number of groups. Raises ValueError for
    different numbers of groups.
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} groups; pairs need as many of each")
    one, other = (_limits(clustered_proportion(side, confidence)) for side in (first, second))
    dependence = _corrected_correlation(_group_rates(first), _group_rates(second))
    return _square_and_add(one, other, dependence, len(first))


def _corrected_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation, 0 where one side does not vary; of 0 and 1 it is the phi coefficient.

    With Newcombe's continuity correction (1998) where it is positive.
    """
    mean1, mean2 = fmean(first), fmean(second)
    square1 = math.fsum((rate - mean1) ** 2 for rate in first)
    square2 = math.fsum((rate - mean2) ** 2 for rate in second)
    if square1 == 0.0 or square2 == 0.0:
        return 0.0
    product = math.fsum((a - mean1) * (b - mean2) for a, b in zip(first, second, strict=True))
    if product > 0.0:
        product = max(product - 0.5, 0.0)
    return product / math.sqrt(square1 * square2)


def _square_and_add(
    first: tuple[float, float, float],
    second: tuple[float, float, float],
    dependence: float,
    n: int,
) -> Interval:
    """Interval of the difference of two estimates, each (value, low, high), so correlated."""

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * dependence * a * b + b * b))

    (p1, low1, high1), (p2, low2, high2) = first, second
    low = p1 - p2 - distance(p1 - low1, high2 - p2)
    high = p1 - p2 + distance(high1 - p1, p2 - low2)
    return Interval(p1 - p2, max(-1.0, low), min(1.0, high), n)


def _group_rates(groups: Sequence[Sequence[bool]]) -> list[float]:
    """Share of each group's members that are true."""
    sizes = {len(group) for group in groups}
    if len(sizes) > 1 or sizes == {0}:
        raise ValueError(f"groups must have the same number of members, got {sorted(sizes)}")
    return [fmean(group) for group in groups]


def _proportion(successes: int, n: int, confidence: float) -> tuple[float, float, float]:
    return _limits(wilson(successes, n, confidence))


def _limits(interval: Interval) -> tuple[float, float, float]:
    assert interval.value is not None and interval.low is not None and interval.high is not None
    return interval.value, interval.low, interval.high


def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with whole degrees of freedom, by bisection of its exact CDF."""
    if degrees < 1:
        raise ValueError(f"degrees of freedom must be 1 or more, got {degrees}")
    if not 0.5 <= probability < 1.0:
        raise ValueError(f"probability must be in [0.5, 1), got {probability}")
    low, high = 0.0, 1.0
    while _student_t_cdf(high, degrees) < probability:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = (low + high) / 2.0
        if _student_t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _student_t_cdf(t: float, degrees: int) -> float:
    """CDF at t >= 0: the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cos, sin = math.cos(theta), math.sin(theta)
    odd = degrees % 2 == 1
    term = cos if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= cos * cos * (k - 1) / k
        total += term
    inside = (theta + sin * total) * 2.0 / math.pi if odd else sin * total
    return 0.5 + inside / 2.0


def _normal_quantile(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must be 0 or more, got {count}")
