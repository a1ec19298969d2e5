from __future__ import annotations

import dataclasses

import pytest

from helmsight.eval.episode_kinds import MANIPULATION, PARKING, episode_kind
from helmsight.eval.manipulation_metrics import compute_metrics, rates_by_task, worst_first
from helmsight.eval.records import EpisodeRecord


def record(episode, success, steps=100, task=0):
    return EpisodeRecord(
        episode=episode,
        success=success,
        outcome="SR" if success else "TR",
        steps=steps,
        decision_ms=[10.0, 20.0],
        metrics={"task_index": task, "task_name": f"put_thing_{task}_away", "scene": episode},
    )


RECORDS = [record(0, True, 80), record(1, False), record(2, True, 120, 1), record(3, True, 90, 1)]
BROKEN = EpisodeRecord(episode=4, error="RuntimeError: unstable")


def test_rates_are_percent_with_intervals_and_errors_count_in_none():
    metrics = compute_metrics([*RECORDS, BROKEN])
    assert (metrics["SR"].value, metrics["SR"].n) == (75.0, 4)
    assert metrics["SR"].low < 75.0 < metrics["SR"].high
    assert metrics["SR"].value + metrics["TR"].value == pytest.approx(100.0)
    assert metrics["AIT"].value == 15.0


def test_steps_are_averaged_over_successes():
    assert compute_metrics(RECORDS)["STEPS"].value == pytest.approx((80 + 120 + 90) / 3)


def test_each_task_has_its_rate_in_the_order_of_the_tasks():
    rates = rates_by_task([*reversed(RECORDS), BROKEN])
    assert list(rates) == ["0 put thing 0 away", "1 put thing 1 away"]
    assert [rate.value for rate in rates.values()] == [50.0, 100.0]


def test_what_was_told_names_the_rate_where_it_is_not_the_scenes_own_task():
    told = [record(5, True), record(6, False)]
    told = [dataclasses.replace(one, task="fetch the cup", approach="swapped") for one in told]
    rates = rates_by_task(told)
    assert [(name, rate.value) for name, rate in rates.items()] == [
        ("scene 0, told: fetch the cup", 50.0)
    ]


def test_errors_come_first_then_failures_then_long_successes():
    assert [entry.episode for entry in worst_first([*RECORDS, BROKEN])] == [4, 1, 2, 3, 0]


def test_nothing_has_no_rate():
    assert compute_metrics([])["SR"].value is None
    assert rates_by_task([]) == {}


def test_the_environment_decides_what_episodes_are_counted_by():
    assert episode_kind("helmsight/Libero-v0") is MANIPULATION
    assert episode_kind("helmsight/Parking-v0") is PARKING
    assert episode_kind("some_tests:helmsight-tests/Fake-v0") is PARKING


@pytest.mark.parametrize("kind", [PARKING, MANIPULATION])
def test_every_outcome_is_defined_and_its_meaning_said(kind):
    assert set(kind.outcomes) <= set(kind.definitions)
    assert kind.success in kind.meaning(kind.success)
    assert kind.meaning("error") == "error"
