"""Intervals and tests for success rates and means, all closed-form: no resampling, no seed.

Everything defaults to 95 % confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
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


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927), without continuity correction."""
    _check_counts(successes=successes, n=n)
    if successes > n:
        raise ValueError(f"got {successes} successes in {n} trials; expected at most {n}")
    if n == 0:
        return Interval(None, None, None, 0)
    z = _normal_quantile(confidence)
    p = successes / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The limits are exactly 0 and 1 at the extremes; rounding must not say otherwise.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == n else min(1.0, center + half)
    return Interval(p, low, high, n)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval on n - 1 degrees of freedom."""
    n = len(values)
    if n == 0:
        return Interval(None, None, None, 0)
    mean = fmean(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = student_t_quantile(0.5 + confidence / 2, n - 1) * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


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
    half = student_t_quantile(0.5 + confidence / 2, count - 1) * error
    return Interval(mean, mean - half, mean + half, n)


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
    difference = p1 - p2
    correlation = _newcombe_correlation(both, only_first, only_second, neither)

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    low = difference - distance(p1 - low1, high2 - p2)
    high = difference + distance(high1 - p1, p2 - low2)
    return Interval(difference, max(-1.0, low), min(1.0, high), n)


def _proportion(successes: int, n: int, confidence: float) -> tuple[float, float, float]:
    interval = wilson(successes, n, confidence)
    assert interval.value is not None and interval.low is not None and interval.high is not None
    return interval.value, interval.low, interval.high


def _newcombe_correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Phi coefficient, continuity-corrected where positive, 0 where a margin is empty."""
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    margins = first * (n - first) * second * (n - second)
    if margins == 0:
        return 0.0
    product = float(both * neither - only_first * only_second)
    if product > 0:
        product = max(product - n / 2, 0.0)
    return product / math.sqrt(margins)


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
