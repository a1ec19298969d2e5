from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parking_batches import random_batch, tiny_policy, trained_a_little

from helmsight.policies.modules.birds_eye import DepthBins
from helmsight.policies.parking import ParkingPolicy
from helmsight.training.fine_tuning import prepared


def test_a_pupil_starts_with_what_its_teacher_knows_of_driving() -> None:
    teacher, pupil = tiny_policy(sees="label", seed=1), tiny_policy(seed=2)
    pupil.learn_from(teacher)
    for part in ("decoder.", "state_encoder.", "view.birds_eye.", "attention."):
        names = [name for name in pupil.state_dict() if name.startswith(part)]
        assert names
        for name in names:
            torch.testing.assert_close(pupil.state_dict()[name], teacher.state_dict()[name])


def test_with_a_start_as_well_the_eyes_are_those_of_the_start(tmp_path: Path) -> None:
    teacher, start = tiny_policy(sees="label", seed=1), tiny_policy(seed=2)
    teacher.save(tmp_path / "teacher")
    start.save(tmp_path / "start")
    make = prepared(
        lambda robot, values: ParkingPolicy(start.config, robot, values),
        start=tmp_path / "start",
        teacher=tmp_path / "teacher",
    )
    pupil = make(start.embodiment, start.statistics).state_dict()
    for name, value in start.state_dict().items():
        behind_the_eyes = name.startswith("view.birds_eye.")
        if name.startswith(("view.", "semantic_head.")) and not behind_the_eyes:
            torch.testing.assert_close(pupil[name], value)
        else:
            torch.testing.assert_close(pupil[name], teacher.state_dict()[name])


def test_the_teacher_s_loss_falls_and_the_teacher_stays_as_it_is() -> None:
    teacher, pupil = tiny_policy(sees="label", seed=1), tiny_policy(seed=2)
    pupil.learn_from(teacher)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    batch = random_batch(pupil.embodiment, 4)
    _, first = pupil(batch)
    trained_a_little(pupil, batch, 25)
    _, last = pupil(batch)
    assert last["teacher"].item() < 0.9 * first["teacher"].item()
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_teacher_is_no_part_of_what_is_saved() -> None:
    pupil = tiny_policy()
    names = set(pupil.state_dict())
    pupil.learn_from(tiny_policy(sees="label"))
    assert set(pupil.state_dict()) == names


@pytest.mark.parametrize(("teacher", "pupil"), (("cameras", "cameras"), ("label", "nothing")))
def test_what_cannot_teach_or_be_taught_is_refused(teacher: str, pupil: str) -> None:
    with pytest.raises(ValueError, match="policy=privileged"):
        tiny_policy(sees=pupil).learn_from(tiny_policy(sees=teacher))


def test_a_teacher_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="shape differs"):
        tiny_policy().learn_from(tiny_policy(sees="label", width=64))


def test_a_teacher_that_read_its_sensors_in_another_order_is_refused() -> None:
    teacher = tiny_policy(sees="label", state_inputs=("steering_angle", "speed"))
    with pytest.raises(ValueError, match="mean something else in this pupil: state_inputs was"):
        tiny_policy().learn_from(teacher)


def test_a_teacher_knows_nothing_of_the_depths_that_its_pupil_sees() -> None:
    tiny_policy(depth=DepthBins(0.5, 10.0, 8)).learn_from(tiny_policy(sees="label"))
