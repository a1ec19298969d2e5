"""Attempts: pure functions of (seed, round, number)."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from helmsight.envs.parking.appearance import DAY, WIDE
from helmsight.training.collection.parking.attempt import draw_attempt
from helmsight.training.collection.parking.settings import ParkingCollection


def settings(**options):
    return ParkingCollection(out=Path("unused"), episodes=1, **options)


def test_an_attempt_depends_on_seed_round_and_number_alone():
    one = draw_attempt(settings(workers=1), 7)
    assert one == draw_attempt(settings(workers=4), 7)
    assert one.index != draw_attempt(settings(seed=1), 7).index
    assert one.index != draw_attempt(settings(round=2), 7).index
    assert one.index != draw_attempt(settings(), 8).index


def test_the_shares_of_family_approach_and_disturbance_are_kept():
    wanted = settings(
        families={"standard": 1.0, "cluttered": 3.0},
        approaches={"reverse": 0.8, "forward": 0.2},
        disturbed=0.3,
    )
    attempts = [draw_attempt(wanted, number) for number in range(1000)]
    families = Counter(attempt.family for attempt in attempts)
    approaches = Counter(attempt.approach for attempt in attempts)
    modes = Counter(attempt.mode for attempt in attempts)
    assert families["cluttered"] == pytest.approx(750, abs=60)
    assert approaches["forward"] == pytest.approx(200, abs=60)
    assert modes["disturbed"] == pytest.approx(300, abs=60)
    assert modes["handover"] == 0


def test_with_a_policy_every_attempt_is_a_handover_within_13_seconds():
    attempts = [draw_attempt(settings(policy=Path("p")), number) for number in range(200)]
    assert {attempt.mode for attempt in attempts} == {"handover"}
    times = [attempt.handover_time for attempt in attempts]
    assert 0.0 <= min(times) < 1.0
    assert 12.0 < max(times) <= 13.0


def test_a_longer_roll_in_hands_over_later_and_changes_nothing_else():
    short = draw_attempt(settings(policy=Path("p")), 5)
    long = draw_attempt(settings(policy=Path("p"), roll_in=26.0), 5)
    assert long.handover_time == pytest.approx(2.0 * short.handover_time)
    assert dataclasses.replace(long, handover_time=short.handover_time) == short


def test_the_share_of_wide_looks_is_kept_and_changes_nothing_else():
    plain = [draw_attempt(settings(), number) for number in range(400)]
    wide = [draw_attempt(settings(wide_looks=0.7), number) for number in range(400)]
    assert sum(attempt.wide_looks for attempt in wide) == pytest.approx(280, abs=40)
    assert not any(attempt.wide_looks for attempt in plain)
    assert [dataclasses.replace(attempt, wide_looks=False) for attempt in wide] == plain


def test_an_attempt_in_wide_looks_shows_its_scenario_on_another_ground():
    attempt = draw_attempt(settings(wide_looks=1.0), 3)
    plain = dataclasses.replace(attempt, wide_looks=False)
    assert attempt.scenario().boxes == plain.scenario().boxes
    assert attempt.scenario().appearance.ground in WIDE.grounds
    assert plain.scenario().appearance.ground in DAY.grounds
    assert (attempt.log()["looks"], plain.log()["looks"]) == ("wide", "day")


def test_a_collection_that_chooses_nothing_new_is_remembered_as_before_there_was_a_choice():
    assert not {"wide_looks", "roll_in"} & settings().recorded().keys()
    assert settings(wide_looks=0.5).recorded()["wide_looks"] == 0.5
    assert settings(roll_in=20.0).recorded()["roll_in"] == 20.0


def test_collections_draw_from_the_training_split_only():
    assert draw_attempt(settings(), 3).scenario().split == "train"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": {"lunar": 1.0}}, "families: unknown lunar; known are standard, cluttered"),
        ({"families": {"standard": 0.0}}, "families must be shares"),
        ({"approaches": {"reverse": -1.0}}, "approaches must be shares"),
        ({"roll_in": 0.0}, "roll_in must be above 0 seconds, got 0"),
        ({"wide_looks": -0.1}, r"wide_looks must be a share in \[0, 1\], got -0.1"),
        ({"disturbed": 1.5}, r"disturbed must be a share in \[0, 1\], got 1.5"),
        ({"workers": -1}, "workers must be a whole number of 0 or more, got -1"),
        ({"image_size": 100}, "image_size must be a multiple of 16, got 100"),
        ({"cameras": "one"}, "unknown camera rig 'one'"),
        ({"simulator": "unreal"}, "unknown simulator 'unreal'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        settings(**options)
