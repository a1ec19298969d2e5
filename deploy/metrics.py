"""Counters, gauges and histograms in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4)
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metric(Protocol):
    """Something that the text of all metrics has lines of."""

    def lines(self) -> Iterator[str]:
        """Its lines, without line ends."""


class LabelledCounter:
    """Counts that only grow, one for each value of a label; all values are known beforehand."""

    def __init__(self, name: str, purpose: str, label: str, values: Sequence[str]) -> None:
        self.name, self.purpose, self.label = name, purpose, label
        self._counts = Counter(dict.fromkeys(values, 0))

    def add(self, value: str) -> None:
        """Count one."""
        if value not in self._counts:
            raise ValueError(f"{self.name} has no {self.label} {value!r}")
        self._counts[value] += 1

    def __getitem__(self, value: str) -> int:
        return self._counts[value]

    def lines(self) -> Iterator[str]:
        yield from _heading(self.name, self.purpose, "counter")
        for value, count in self._counts.items():
            yield f'{self.name}{{{self.label}="{value}"}} {count}'


class Gauge:
    """A number that is read when it is asked for."""

    def __init__(self, name: str, purpose: str, read: Callable[[], float]) -> None:
        self.name, self.purpose, self._read = name, purpose, read

    def lines(self) -> Iterator[str]:
        yield from _heading(self.name, self.purpose, "gauge")
        yield f"{self.name} {self._read():g}"


class Histogram:
    """How many observations lie at or below each bound."""

    def __init__(self, name: str, purpose: str, bounds: Sequence[float]) -> None:
        self.name, self.purpose, self.bounds = name, purpose, tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect.bisect_left(self.bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        """Values counted."""
        return sum(self._counts)

    def lines(self) -> Iterator[str]:
        yield from _heading(self.name, self.purpose, "histogram")
        below = 0
        for bound, count in zip(self.bounds, self._counts, strict=False):
            below += count
            yield f'{self.name}_bucket{{le="{bound:g}"}} {below}'
        yield f'{self.name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{self.name}_sum {self._sum:.9g}"
        yield f"{self.name}_count {self.count}"


class ServerMetrics:
    """Everything that the policy server counts."""

    def __init__(self, queue_length: Callable[[], int], connections: Callable[[], int]) -> None:
        self.requests = LabelledCounter(
            "helmsight_requests_total",
            "Requests by outcome.",
            "outcome",
            ("answered", "refused", "busy", "late", "failed"),
        )
        self.turned_away = LabelledCounter(
            "helmsight_turned_away_total",
            "Connections closed by the server, or not opened, by reason.",
            "reason",
            ("unauthorized", "full", "idle", "slow", "fragments", "not_reading", "cross_site"),
        )
        self.request_seconds = Histogram(
            "helmsight_request_seconds", "From a request's arrival to its reply.", LATENCY_BUCKETS
        )
        self.queue_seconds = Histogram(
            "helmsight_queue_seconds", "Time that a request waits for the policy.", LATENCY_BUCKETS
        )
        self.inference_seconds = Histogram(
            "helmsight_inference_seconds", "Time that the policy takes a batch.", LATENCY_BUCKETS
        )
        self.batch_size = Histogram(
            "helmsight_batch_size", "Requests that were decided together.", (1, 2, 4, 8, 16, 32)
        )
        self._all: tuple[Metric, ...] = (
            self.requests,
            self.turned_away,
            self.request_seconds,
            self.queue_seconds,
            self.inference_seconds,
            self.batch_size,
            Gauge("helmsight_queue_length", "Requests waiting now.", queue_length),
            Gauge("helmsight_connections", "Robots connected now.", connections),
        )

    def text(self) -> str:
        """All metrics as Prometheus reads them."""
        return "\n".join(line for metric in self._all for line in metric.lines()) + "\n"


def _heading(name: str, purpose: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {purpose}"
    yield f"# TYPE {name} {kind}"
