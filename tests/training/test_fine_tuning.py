"""Beginning with the weights of a model that was trained before."""

import dataclasses

import pytest
import torch

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import load_policy
from helmsight.policies.modules.birds_eye import Grid
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.motion import MotionConfig, MotionNetwork
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig
from helmsight.policies.parking.config import ParkingLossWeights
from helmsight.training.fine_tuning import beginning_with


def embodiment():
    return parking_embodiment("none")


def statistics(scale: float) -> dict:
    sizes = {"observation.state": embodiment().state.size, "action": embodiment().action.size}
    return {
        key: {
            "mean": [0.0] * size,
            "std": [scale] * size,
            **{name: [-scale] * size for name in ("min", "q01", "q10")},
            **{name: [scale] * size for name in ("max", "q90", "q99")},
        }
        for key, size in sizes.items()
    }


def make_motion(robot: EmbodimentSpec, values: dict) -> MotionNetwork:
    return MotionNetwork(MotionConfig(width=8), robot, values)


def begin_parking(before: dict, now: dict) -> ParkingPolicy:
    """A privileged policy with the options `now`, with the weights of one with others."""

    def make(robot: EmbodimentSpec, values: dict, options: dict = now) -> ParkingPolicy:
        config = ParkingPolicyConfig(sees="label", width=16, **options)
        return ParkingPolicy(config, robot, values)

    start = make(embodiment(), statistics(2.0), before)
    return beginning_with(start, make)(embodiment(), statistics(2.0))


def test_weights_and_scales_are_those_of_the_start():
    torch.manual_seed(0)
    start = make_motion(embodiment(), statistics(2.0))
    torch.manual_seed(1)
    begun = beginning_with(start, make_motion)(embodiment(), statistics(5.0))
    assert begun.statistics == start.statistics
    for name, value in start.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value), name


def test_the_start_itself_is_left_as_it_was():
    start = make_motion(embodiment(), statistics(2.0))
    before = {name: value.clone() for name, value in start.state_dict().items()}
    begun = beginning_with(start, make_motion)(embodiment(), statistics(2.0))
    with torch.no_grad():
        for parameter in begun.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_another_shape_is_refused_by_the_names_of_its_tensors():
    start = MotionNetwork(MotionConfig(width=16), embodiment(), statistics(2.0))
    with pytest.raises(ValueError, match=r"another shape than this policy: .*weight"):
        beginning_with(start, make_motion)(embodiment(), statistics(2.0))


def test_another_shape_is_refused_by_the_options_that_differ():
    start = MotionNetwork(MotionConfig(width=16), embodiment(), statistics(2.0))
    with pytest.raises(ValueError, match="another shape than this policy: width was 16, is 8 "):
        beginning_with(start, make_motion)(embodiment(), statistics(2.0))


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            {"state_inputs": ("steering_angle", "speed")},
            {},
            r"state_inputs was \('steering_angle', 'speed'\), is \('speed', 'steering_angle'\)",
        ),
        ({"steering_fades_at": 0.5}, {}, "steering_fades_at was 0.5, is 0.2"),
        ({"grid": Grid(16)}, {"grid": Grid(32)}, "grid.size was 16, is 32"),
        ({"attention_heads": 4}, {}, "attention_heads was 4, is 2"),
    ],
)
def test_options_that_change_what_weights_mean_are_refused(before, now, message):
    with pytest.raises(ValueError, match=f"mean something else in this policy: {message}"):
        begin_parking(before, now)


def test_a_guard_that_is_not_taken_over_is_said(capsys):
    begin_parking({"guard": CourseGuardConfig(enabled=True)}, {})
    said = capsys.readouterr().out
    assert said == "start differs in: guard.enabled was True, is False\n"


def test_other_losses_are_no_difference(capsys):
    begin_parking({"loss": ParkingLossWeights(depth=0.5)}, {})
    assert capsys.readouterr().out == ""


def test_another_type_is_refused():
    parking = load_policy("parking-s")
    with pytest.raises(ValueError, match="start holds a parking model; policy=motion can not"):
        beginning_with(parking, make_motion)(parking.embodiment, statistics(2.0))


def test_another_robot_is_refused_by_what_differs():
    start = make_motion(embodiment(), statistics(2.0))
    action = embodiment().action
    others = dataclasses.replace(action, names=("joint_0", *action.names[1:]))
    arm = dataclasses.replace(embodiment(), action=others)
    with pytest.raises(ValueError, match=r"the action entries .*; the data has joint_0"):
        beginning_with(start, make_motion)(arm, statistics(2.0))
