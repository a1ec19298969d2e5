from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lots_about_targets import HALF_EXTENT, KERB, ROW, world
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert.cost_to_go import GEAR_CHANGE_COST, TURNING_RADIUS, cost_to_go
from helmsight.policies.modules.cost_to_go import BLOCKED, CostToGo, CostToGoConfig, Poses
from helmsight.policies.modules.map_memory import Body

CONFIG = CostToGoConfig(turning_radius=TURNING_RADIUS, gear_change=GEAR_CHANGE_COST)
COSTS = CostToGo(CONFIG, Body(3.75, 0.95, 1.95))
YES, NO = torch.tensor([True]), torch.tensor([False])


def planned(occupied: Tensor, costs: CostToGo = COSTS, bold: float = 0.0) -> Tensor:
    nothing = torch.zeros(len(occupied), costs.config.side, costs.config.side)
    old = torch.zeros(len(occupied), *costs.config.size)
    return costs(
        occupied,
        HALF_EXTENT,
        nothing,
        torch.full((len(occupied),), bold),
        torch.ones(len(occupied)) > 0,
        old,
    )


def at(costs: Tensor, x: float, y: float, yaw: float) -> list[float]:
    """Costs forwards and backwards at one pose."""
    pose = Poses(*(torch.tensor([[value]]) for value in (x, y, yaw)))
    return COSTS.at(costs, pose)[0, :, 0].tolist()


FREE = planned(world())


def shortest(x: float, y: float, yaw: float) -> float:
    """The cost by Reeds and Shepp to the nearest of the poses that count as the target."""
    along = np.linspace(-CONFIG.along, CONFIG.along, 5)
    across = np.linspace(-CONFIG.aside, CONFIG.aside, 5)
    turned = 2.0 * math.pi / CONFIG.headings * np.linspace(-1.0, 1.0, 9)
    goals = itertools.product(along.tolist(), across.tolist(), turned.tolist())
    return min(float(cost_to_go(np.array([x, y, yaw]), Pose(*goal))) for goal in goals)


@settings(deadline=None, max_examples=60)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-math.pi, math.pi))
def test_where_nothing_stands_it_is_about_as_far_as_by_reeds_and_shepp(x, y, yaw) -> None:
    left = min(at(FREE, x, y, yaw)) - CONFIG.arc
    # Arcs are of one length, and what lies between the lattice's points is blurred; the expert's
    # table counts poses less than 0.25 m apart as the same, which can be 8 m of driving and more.
    assert shortest(x, y, yaw) - 2.0 < left < 1.5 * shortest(x, y, yaw) + 10.0


def test_what_the_lattice_costs_is_a_few_metres() -> None:
    poses = np.random.default_rng(0).uniform(-1.0, 1.0, (60, 3)) * (5.0, 5.0, math.pi)
    more = [min(at(FREE, *pose)) - CONFIG.arc - shortest(*pose) for pose in poses.tolist()]
    assert 0.5 < float(np.median(more)) < 4.0


@settings(deadline=None, max_examples=40)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-math.pi, math.pi))
def test_left_and_right_cost_the_same(x, y, yaw) -> None:
    assert at(FREE, x, y, yaw) == pytest.approx(at(FREE, x, -y, -yaw), abs=0.05)


@settings(deadline=None, max_examples=40)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-math.pi, math.pi))
def test_headings_are_wrapped(x, y, yaw) -> None:
    assert at(FREE, x, y, yaw) == pytest.approx(at(FREE, x, y, yaw + 2.0 * math.pi), abs=0.05)


def test_the_other_gear_costs_its_change_at_the_most() -> None:
    forwards, backwards = FREE[0]
    assert float((forwards - backwards).abs().max()) <= CONFIG.gear_change + 1e-3


def test_into_a_row_the_car_goes_backwards() -> None:
    forwards, backwards = at(planned(world(*ROW, KERB)), 4.0, 0.0, 0.0)
    assert backwards < forwards < BLOCKED


def test_obstacles_make_no_way_cheaper() -> None:
    boxes = world(*ROW, KERB, (7.0, 7.6, 3.0, 3.6))
    assert float((planned(boxes) - planned(world(*ROW, KERB))).min()) > -1e-3


def test_a_wall_before_the_slot_leaves_no_way() -> None:
    walled = planned(world(*ROW, KERB, (4.0, 4.6, -14.0, 14.0)))
    assert min(at(walled, 8.0, 0.0, 0.0)) > BLOCKED / 2.0


def test_what_the_body_would_reach_beyond_the_lattice_is_in_the_way() -> None:
    beyond = planned(world((CONFIG.half_extent + 0.8, 15.6, -12.0, 12.0)))
    assert min(at(beyond, CONFIG.half_extent - 1.9, 0.0, 0.0)) > BLOCKED / 2.0  # nose in it
    assert min(at(beyond, 5.0, 0.0, 0.0)) < BLOCKED / 2.0


def test_it_reaches_to_where_episodes_begin() -> None:
    """Cars start along the aisle, up to 9.4 m beside their target."""
    for y, yaw in ((9.4, -math.pi / 2), (-9.4, math.pi / 2), (9.4, math.pi / 2)):
        assert min(at(planned(world(*ROW, KERB)), 7.65, y, yaw)) < BLOCKED / 4.0


def test_a_bold_plan_leads_through_what_may_be_occupied() -> None:
    doubtful = world(*ROW, KERB) + 0.5 * world((4.0, 4.6, -1.2, 1.2))
    assert min(at(planned(doubtful), 8.0, 0.0, 0.0)) > BLOCKED / 2.0
    assert min(at(planned(doubtful, bold=1.0), 8.0, 0.0, 0.0)) < BLOCKED / 2.0


def test_a_box_in_the_way_is_driven_round() -> None:
    beside = planned(world(*ROW, KERB, (6.6, 7.2, -0.3, 0.3)))
    free = planned(world(*ROW, KERB))
    assert min(at(free, 8.5, 2.5, 0.7)) < min(at(beside, 8.5, 2.5, 0.7)) < BLOCKED / 2.0


def test_where_the_car_stands_nothing_does() -> None:
    inside = world((-0.3, 0.3, -0.3, 0.3))
    own = torch.zeros(1, CONFIG.side, CONFIG.side)
    assert min(at(planned(inside), 2.0, 0.0, 0.0)) > BLOCKED / 2.0
    own[:, :, :] = 1.0
    nobody = COSTS(inside, HALF_EXTENT, own, torch.zeros(1), YES, torch.zeros(1, *CONFIG.size))
    torch.testing.assert_close(nobody, FREE)


def test_unless_it_is_wanted_nothing_is_planned() -> None:
    old = torch.rand(1, *CONFIG.size)
    own = torch.zeros(1, CONFIG.side, CONFIG.side)
    assert torch.equal(COSTS(world(), HALF_EXTENT, own, torch.zeros(1), NO, old), old)


def test_beyond_the_lattice_there_is_no_way() -> None:
    assert at(FREE, CONFIG.half_extent + 0.1, 0.0, 0.0) == [BLOCKED, BLOCKED]


def test_worlds_of_a_batch_do_not_mix() -> None:
    worlds = torch.cat([world(), world(*ROW, KERB)])
    together = planned(worlds)
    for index in range(2):
        torch.testing.assert_close(together[index], planned(worlds[index : index + 1])[0])


def test_from_where_episodes_begin_more_iterations_find_nothing_shorter() -> None:
    longer = CostToGo(dataclasses.replace(CONFIG, iterations=60), Body(3.75, 0.95, 1.95))
    few, many = planned(world(*ROW, KERB)), planned(world(*ROW, KERB), longer)
    for y in (-9.4, -5.0, 0.0, 5.0, 9.4):
        for yaw in (-math.pi / 2, math.pi / 2):
            assert at(few, 7.65, y, yaw) == pytest.approx(at(many, 7.65, y, yaw), abs=0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": 0.0},
        {"half_extent": 0.1},
        {"headings": 4},
        {"cell": 0.3, "half_extent": 10.1},
        {"turning_radius": 0.0},
    ],
)
def test_a_lattice_that_is_none_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="lattice"):
        CostToGoConfig(**wrong)
