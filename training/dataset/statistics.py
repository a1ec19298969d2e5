"""Per-feature statistics of an episode, and their aggregation over episodes.

Statistics are float64 arrays by name (`format.STATISTIC_NAMES`): [n] for a vector, [channels, 1, 1]
in [0, 1] for images. Vectors longer than `POOLED_ABOVE` entries (depth grids) are pooled over their
entries to shape [1], which broadcasts the same way and keeps the metadata small. Over several
episodes mean and deviation are exact, quantiles are the episodes' quantiles weighted by count (as
LeRobot aggregates them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.training.dataset.format import STATISTIC_NAMES

POOLED_ABOVE = 64
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Frames of an episode and pixels of a frame that image statistics look at.
SAMPLED_FRAMES = 16
SAMPLED_PIXEL_STEP = 2

FeatureStatistics = dict[str, NDArray[Any]]
Statistics = dict[str, FeatureStatistics]


def vector_statistics(values: NDArray[Any]) -> FeatureStatistics:
    """Statistics over the frames of `values` [T, n], shape [n] (or [1], see the module)."""
    count = len(values)
    table = values.astype(np.float64)
    if table.shape[1] > POOLED_ABOVE:
        table = table.reshape(-1, 1)
    statistics: FeatureStatistics = {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
        "count": np.array([count]),
    }
    quantiles = np.quantile(table, list(QUANTILES.values()), axis=0)
    return {**statistics, **dict(zip(QUANTILES, quantiles, strict=True))}


def image_statistics(frames: NDArray[np.uint8]) -> FeatureStatistics:
    """Statistics of `frames` uint8 [T, H, W, C] from a sample, shape [C, 1, 1], in [0, 1].

    Computed from a histogram of the 256 grey levels, so the quantiles cost nothing extra.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, SAMPLED_FRAMES).round().astype(np.int64))
    sample = frames[chosen, ::SAMPLED_PIXEL_STEP, ::SAMPLED_PIXEL_STEP]
    levels = np.arange(256) / 255.0
    channels = []
    for channel in range(sample.shape[-1]):
        histogram = np.bincount(sample[..., channel].ravel(), minlength=256)
        share = histogram / histogram.sum()
        present = np.flatnonzero(histogram)
        mean = float(share @ levels)
        cumulative = np.cumsum(share)
        channels.append(
            {
                "min": levels[present[0]],
                "max": levels[present[-1]],
                "mean": mean,
                "std": float(np.sqrt(share @ (levels - mean) ** 2)),
                **{
                    name: levels[min(int(np.searchsorted(cumulative, q)), 255)]
                    for name, q in QUANTILES.items()
                },
            }
        )
    statistics: FeatureStatistics = {
        name: np.array([entry[name] for entry in channels]).reshape(-1, 1, 1)
        for name in STATISTIC_NAMES
        if name != "count"
    }
    return {**statistics, "count": np.array([len(chosen)])}


def counter_statistics(first: float, step: float, count: int) -> FeatureStatistics:
    """Statistics of first, first + step, ...: `count` values, shape [1], in closed form."""
    last = first + step * (count - 1)
    statistics: FeatureStatistics = {
        "min": np.array([first]),
        "max": np.array([last]),
        "mean": np.array([(first + last) / 2.0]),
        "std": np.array([abs(step) * np.sqrt((count**2 - 1) / 12.0)]),
        "count": np.array([count]),
    }
    for name, quantile in QUANTILES.items():
        statistics[name] = np.array([first + quantile * (last - first)])
    return {name: value.astype(np.float64) for name, value in statistics.items()} | {
        "count": np.array([count])
    }


def aggregate(left: FeatureStatistics, right: FeatureStatistics) -> FeatureStatistics:
    """Statistics of both sets of frames together (Chan et al. 1979 for mean and deviation)."""
    count_left, count_right = int(left["count"][0]), int(right["count"][0])
    total = count_left + count_right
    share = count_right / total
    delta = right["mean"] - left["mean"]
    variance = (
        left["std"] ** 2 * (1.0 - share)
        + right["std"] ** 2 * share
        + delta**2 * share * (1.0 - share)
    )
    merged: FeatureStatistics = {
        "min": np.minimum(left["min"], right["min"]),
        "max": np.maximum(left["max"], right["max"]),
        "mean": left["mean"] + delta * share,
        "std": np.sqrt(variance),
        "count": np.array([total]),
    }
    for name in QUANTILES:
        if name in left and name in right:  # data sets of older writers have no quantiles
            merged[name] = left[name] + (right[name] - left[name]) * share
    return merged


def aggregate_all(left: Statistics, right: Statistics) -> Statistics:
    """`aggregate` feature by feature; a feature known to one side only is taken as it is."""
    merged = {**left, **right}
    for key in left.keys() & right.keys():
        merged[key] = aggregate(left[key], right[key])
    return merged


def to_jsonable(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """Nested lists, as in `stats.json`."""
    return {
        key: {name: value.tolist() for name, value in entry.items()}
        for key, entry in statistics.items()
    }


def from_jsonable(data: dict[str, dict[str, Any]]) -> Statistics:
    """Inverse of `to_jsonable`."""
    return {
        key: {name: np.asarray(value) for name, value in entry.items()}
        for key, entry in data.items()
    }
