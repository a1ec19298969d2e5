import pytest

from helmsight.eval.metrics import compute_metrics, worst_first
from helmsight.eval.records import OUTCOMES, EpisodeRecord


def record(episode, outcome, error=0.5, **others):
    metrics = {"position_error": error, "orientation_error": 2.0, "parking_time": 10.0 + episode}
    return EpisodeRecord(
        episode=episode, outcome=outcome, success=outcome == "TSR", metrics=metrics, **others
    )


def test_every_published_metric_is_there_under_its_name():
    metrics = compute_metrics([record(0, "TSR")])
    assert list(metrics) == [*OUTCOMES, "APE", "AOE", "APT", "AIT"]


def test_rates_are_percent_and_add_up():
    metrics = compute_metrics([record(i, outcome) for i, outcome in enumerate(OUTCOMES)])
    assert sum(metrics[name].value for name in OUTCOMES) == pytest.approx(100.0)


def test_means_are_over_successes_alone():
    metrics = compute_metrics([record(0, "TSR", 0.2), record(1, "TSR", 0.4), record(2, "CR", 9.0)])
    assert metrics["APE"].value == pytest.approx(0.3)
    assert metrics["APT"].n == 2


def test_an_episode_with_an_error_counts_in_no_metric():
    records = [record(0, "TSR", decision_ms=[5.0])]
    with_error = [*records, EpisodeRecord(episode=1, error="RuntimeError", decision_ms=[900.0])]
    assert compute_metrics(with_error) == compute_metrics(records)


def test_inference_time_is_the_mean_over_all_decisions():
    records = [record(0, "TSR", decision_ms=[1.0]), record(1, "CR", decision_ms=[4.0, 4.0])]
    metrics = compute_metrics(records)
    assert (metrics["AIT"].value, metrics["AIT"].n) == (3.0, 3)


def test_without_any_episode_there_is_no_value():
    assert all(interval.value is None for interval in compute_metrics([]).values())


def test_collisions_come_before_timeouts_and_far_successes_before_near_ones():
    records = [record(0, "TSR", 0.1), record(1, "TR"), record(2, "TSR", 0.4), record(3, "CR")]
    assert [entry.episode for entry in worst_first(records)] == [3, 1, 2, 0]


def test_no_interval_of_a_time_reaches_below_zero():
    times = [[0.1] * 50, [9.0] * 2]
    records = [EpisodeRecord(episode=i, outcome="TR", decision_ms=t) for i, t in enumerate(times)]
    interval = compute_metrics(records)["AIT"]
    assert interval.low == 0.0
    assert interval.high > interval.value
