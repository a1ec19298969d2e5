"""Scenarios: pure functions of (family, split, index)."""

import dataclasses

import pytest

from helmsight.envs.parking.scenario import FAMILIES, SPLITS, make_scenario, shifted_twin, wide_twin
from helmsight.envs.parking.vehicle import EGO


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_arguments_give_equal_scenarios(family):
    assert make_scenario(family, "train", 17) == make_scenario(family, "train", 17)
    assert make_scenario(family, "train", 17) != make_scenario(family, "train", 18)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shifted_split_has_the_test_worlds_in_other_looks(family):
    for index in range(0, 96, 7):
        plain = make_scenario(family, "test", index)
        shifted = make_scenario(family, "shifted", index)
        assert shifted.start == plain.start
        assert shifted.target_slot == plain.target_slot
        assert [car.pose for car in shifted.cars] == [car.pose for car in plain.cars]
        assert [box.pose for box in shifted.boxes] == [box.pose for box in plain.boxes]
        assert shifted.appearance.ground != plain.appearance.ground


def test_the_test_split_pairs_every_slot_with_every_start():
    pairs = set()
    for index in range(96):
        scenario = make_scenario("standard", "test", index)
        middle = EGO.footprint(scenario.start).center
        slot = scenario.target_slot
        pairs.add((slot.row, slot.column, round(middle.x - slot.x, 1)))
    assert len(pairs) == 96


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_start_and_target_are_free_and_21_to_63_slots_are_taken(family, split):
    for index in range(60):
        scenario = make_scenario(family, split, index)
        start = EGO.footprint(scenario.start)
        target = EGO.footprint(scenario.target)
        assert not any(start.overlaps(obstacle) for obstacle in scenario.obstacles())
        assert not any(target.overlaps(box.footprint()) for box in scenario.boxes)
        assert 21 <= len(scenario.cars) <= 63


def test_only_the_cluttered_family_has_boxes_and_intruders():
    standard = [make_scenario("standard", "train", index) for index in range(40)]
    cluttered = [make_scenario("cluttered", "train", index) for index in range(40)]
    assert not any(scenario.boxes for scenario in standard)
    assert all(scenario.boxes for scenario in cluttered)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lunar", "train", 0), "unknown family 'lunar'"),
        (("standard", "exam", 0), "unknown split 'exam'"),
        (("standard", "train", 0, "sideways"), "unknown approach 'sideways'"),
        (("standard", "train", -1), "must be 0 or more, got -1"),
        (("standard", "test", 96), "holds scenarios 0 to 95, got 96"),
    ],
)
def test_unknown_scenarios_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_scenario(*arguments)


def test_the_approach_turns_the_target_round_and_changes_nothing_else():
    reverse = make_scenario("standard", "val", 2, "reverse")
    forward = make_scenario("standard", "val", 2, "forward")
    assert dataclasses.replace(forward, approach="reverse") == reverse
    assert forward.target != reverse.target


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("twin_of", "split"), [(shifted_twin, "val"), (wide_twin, "train")])
def test_a_twin_is_the_same_world_with_the_same_noise_in_another_look(twin_of, split, family):
    plain = make_scenario(family, split, 5)
    twin = twin_of(plain)
    assert twin == twin_of(plain)
    assert [car.pose for car in twin.cars] == [car.pose for car in plain.cars]
    assert (twin.start, twin.boxes, twin.seed) == (plain.start, plain.boxes, plain.seed)
    assert [car.colour for car in twin.cars] != [car.colour for car in plain.cars]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shifted_twin_has_a_poorer_camera_than_training_shows(family):
    plain = make_scenario(family, "val", 5)
    assert shifted_twin(plain).appearance.camera_noise >= 5.0 > plain.appearance.camera_noise


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wide_twin_stands_on_a_ground_that_no_other_split_has(family):
    others = set(SPLITS) - {"val_wide"}
    grounds = {make_scenario(family, split, 0).appearance.ground for split in others}
    assert wide_twin(make_scenario(family, "train", 5)).appearance.ground not in grounds


@pytest.mark.parametrize("family", FAMILIES)
def test_wide_validation_is_validation_in_another_look(family):
    plain, wide = (make_scenario(family, split, 7, "forward") for split in ("val", "val_wide"))
    assert wide.split == "val_wide"
    assert wide == dataclasses.replace(wide_twin(plain), split="val_wide")
    assert (wide.start, wide.boxes, wide.approach) == (plain.start, plain.boxes, "forward")
