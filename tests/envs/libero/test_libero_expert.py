"""The expert in the benchmark's own scenes."""

import numpy as np
import pytest
from libero_worlds import NEEDS_SCENES

from helmsight.envs.libero.expert import LiberoExpert
from helmsight.envs.libero.expert.displacement import displace
from helmsight.envs.libero.expert.focus import first_focus
from helmsight.envs.libero.expert.scene import Scene
from helmsight.envs.libero.placement import redraw_placements
from helmsight.envs.libero.simulator import LiberoSimulator

pytestmark = NEEDS_SCENES


def carry_out(simulator, steps=320):
    """Let the expert act until it is done; its actions [T, 7] and the expert."""
    expert, actions = LiberoExpert(), []
    while len(actions) < steps:
        action = expert.act(simulator)
        if expert.finished:
            break
        actions.append(action)
        simulator.step(action)
    return np.stack(actions), expert


def test_the_expert_puts_the_milk_into_the_basket_and_lets_go(milk):
    milk.goal = (("in", "milk_1", "basket_1_contain_region"),)
    milk.reset(np.random.default_rng(3))
    actions, expert = carry_out(milk)
    assert expert.succeeded
    assert expert.finished
    assert np.abs(actions).max() <= 1.0
    assert milk.is_success()
    assert milk.gripper_positions()[0] > 0.035
    away = milk.end_effector_position() - milk.object_positions()["milk_1"]
    assert np.linalg.norm(away) > 0.05


def test_the_expert_follows_another_goal_in_the_same_scene_from_another_start(milk):
    milk.goal = (("in", "butter_1", "basket_1_contain_region"),)
    milk.reset(np.random.default_rng(4))
    before = milk.end_effector_position()
    displace(milk, (0.05, -0.08, 0.04, 0.3))
    assert np.linalg.norm(milk.end_effector_position() - before) > 0.05
    _, expert = carry_out(milk)
    assert expert.finished
    basket, butter = (milk.object_positions()[name] for name in ("basket_1", "butter_1"))
    assert np.linalg.norm((basket - butter)[:2]) < 0.07


def test_its_focus_is_on_the_thing_and_where_it_goes(milk):
    milk.goal = (("in", "milk_1", "basket_1_contain_region"),)
    milk.reset(np.random.default_rng(6))
    expert = LiberoExpert()
    with pytest.raises(RuntimeError, match="call act first"):
        expert.focus()
    expert.act(milk)
    thing, place = expert.focus().reshape(2, 3)  # [6] -> [2, 3]
    assert np.allclose(thing, milk.object_positions()["milk_1"], atol=1e-6)
    basket = milk.object_positions()["basket_1"]
    assert np.linalg.norm((place - basket)[:2]) < 0.02 and 0.0 < place[2] - basket[2] < 0.15


def test_the_focus_of_a_goal_is_that_of_its_first_predicate_that_does_not_hold(milk):
    milk.reset(np.random.default_rng(6))
    scene, places = Scene(milk), milk.object_positions()
    wanted = [("in", f"{name}_1", "basket_1_contain_region") for name in ("milk", "butter")]
    thing = first_focus(scene, scene.in_order(tuple(wanted)))[:3]
    assert np.allclose(thing, places["milk_1"], atol=1e-6)
    on_the_floor = ("on", "milk_1", "floor_target_object_region")
    thing = first_focus(scene, scene.in_order((on_the_floor, wanted[1])))[:3]
    assert np.allclose(thing, places["butter_1"], atol=1e-6)


def test_the_same_scene_gives_the_same_actions(milk):
    runs = []
    for _ in range(2):
        milk.goal = (("in", "milk_1", "basket_1_contain_region"),)
        milk.reset(np.random.default_rng(5))
        runs.append(carry_out(milk, 12)[0])
    assert np.array_equal(*runs)


def test_redrawn_placements_fill_their_regions_and_come_to_rest(milk):
    random, places = np.random.default_rng(6), []
    for _ in range(6):
        milk.reset(random)
        assert redraw_placements(milk, random)
        places.append(milk.object_positions()["milk_1"][:2])
    places = np.array(places)
    low, high = np.array([-0.145, -0.265]), np.array([-0.095, -0.215])
    assert (places > low - 0.003).all()
    assert (places < high + 0.003).all()
    assert np.ptp(places, axis=0).min() > 0.01


def test_a_bowl_that_stands_on_something_stays_there_when_placements_are_redrawn():
    simulator = LiberoSimulator("libero_spatial", 3)  # on the cookie box
    random = np.random.default_rng(7)
    simulator.reset(random)
    redraw_placements(simulator, random)
    places = simulator.object_positions()
    away = places["akita_black_bowl_1"] - places["cookies_1"]
    assert np.linalg.norm(away[:2]) < 0.03
    assert away[2] > 0.0
