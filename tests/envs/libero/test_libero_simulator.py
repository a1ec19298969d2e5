from __future__ import annotations

import numpy as np
import pytest
from libero_worlds import NEEDS_SCENES, actions

from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState, _UpToDate

pytestmark = NEEDS_SCENES


def physics(simulator):
    data = simulator.sim.data
    return np.concatenate([[data.time], data.qpos, data.qvel])


def test_a_control_step_is_robosuites_to_the_bit(milk):
    milk.reset_to(2)
    for action in actions(6):
        milk.step(action)
    ours = physics(milk)
    milk.reset_to(2)
    # robosuite's own step: its controller brings everything up to date for itself.
    milk.robosuite.robots[0].controller.sim = milk.sim
    for action in actions(6):
        milk.robosuite.step(action)
    np.testing.assert_array_equal(physics(milk), ours)


def test_the_controller_is_spared_what_step_does_for_it(milk):
    milk.reset_to(0)
    assert isinstance(milk.robosuite.robots[0].controller.sim, _UpToDate)


@pytest.mark.parametrize("fixture", ["milk", "stove"])
def test_an_initial_state_is_a_function_of_its_index(fixture, request):
    simulator = request.getfixturevalue(fixture)
    simulator.reset_to(3)
    first, fixtures = physics(simulator), simulator.state().fixtures
    simulator.reset_to(4)
    simulator.step(actions(1)[0])
    assert not np.array_equal(physics(simulator), first)
    simulator.reset_to(3)
    np.testing.assert_array_equal(physics(simulator), first)
    np.testing.assert_array_equal(simulator.state().fixtures, fixtures)


def test_an_unknown_initial_state_is_refused(milk):
    with pytest.raises(ValueError, match="0 to 49, got 50"):
        milk.reset_to(50)


def test_a_fresh_scene_is_a_function_of_its_generator(stove):
    stove.reset(np.random.default_rng(5), arm_noise=0.05)
    first, fixtures = physics(stove), stove.state().fixtures
    stove.reset(np.random.default_rng(6), arm_noise=0.05)
    assert not np.array_equal(stove.state().fixtures, fixtures)
    stove.reset(np.random.default_rng(5), arm_noise=0.05)
    np.testing.assert_array_equal(physics(stove), first)
    np.testing.assert_array_equal(stove.state().fixtures, fixtures)


def test_arm_noise_moves_the_arms_start(milk):
    milk.reset(np.random.default_rng(5))
    calm = milk.end_effector_position()
    milk.reset(np.random.default_rng(5), arm_noise=0.1)
    assert np.linalg.norm(milk.end_effector_position() - calm) > 0.005


def test_numpys_global_generator_is_left_as_it_was(milk):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    milk.reset(np.random.default_rng(0))
    milk.reset_to(0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_a_state_shows_again_what_was_observed(stove):
    stove.reset_to(1)
    for action in actions(3):
        stove.step(action)
    state, seen = stove.state(), stove.proprioception()
    stove.reset_to(2)
    stove.set_state(state)
    np.testing.assert_array_equal(stove.proprioception(), seen)
    np.testing.assert_array_equal(stove.state().fixtures, state.fixtures)


def test_a_state_of_another_scene_is_refused(milk, stove):
    stove.reset_to(0)
    milk.reset_to(0)
    with pytest.raises(ValueError, match="fixtures"):
        milk.set_state(stove.state())
    state = milk.state()
    with pytest.raises(ValueError, match="numbers"):
        milk.set_state(LiberoState(state.physics[:-1], state.fixtures))


def test_the_gripper_closes_at_positive_and_opens_at_negative_values(milk):
    milk.reset_to(0)
    for _ in range(10):
        milk.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    closed = np.ptp(milk.gripper_positions())
    for _ in range(10):
        milk.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))
    assert np.ptp(milk.gripper_positions()) > closed + 0.05


def test_an_action_moves_the_hand_along_the_worlds_axes(milk):
    milk.reset_to(0)
    before = milk.end_effector_position()
    for _ in range(8):
        milk.step(np.array([0.0, 0.5, 0.0, 0, 0, 0, -1.0]))
    moved = milk.end_effector_position() - before
    assert moved[1] > 0.04 and abs(moved[1]) > 5.0 * np.abs(moved[[0, 2]]).max()


def test_success_is_the_goals_predicates(milk):
    milk.reset_to(0)
    assert not milk.is_success()
    joint = milk.robosuite.objects_dict["milk_1"].joints[-1]
    where = milk.sim.data.get_joint_qpos(joint).copy()
    where[:3] = milk.sim.data.get_site_xpos("basket_1_contain_region")
    milk.sim.data.set_joint_qpos(joint, where)
    milk.sim.forward()
    assert milk.is_success()
    milk.goal = (("in", "butter_1", "basket_1_contain_region"),)
    assert not milk.is_success()


def test_a_simulation_that_became_unstable_is_an_error(milk):
    milk.reset_to(0)
    milk.sim.data.qvel[0] = np.nan
    with pytest.raises(RuntimeError, match="unstable"):
        milk.step(np.zeros(7))


def test_a_bowl_in_a_drawer_is_there_in_every_new_scene():
    simulator, random = LiberoSimulator("libero_spatial", 4), np.random.default_rng(1)
    for _ in range(3):
        simulator.reset(random)
        drawer = simulator.sim.data.get_site_xpos("wooden_cabinet_1_top_region")
        bowl = simulator.object_positions()["akita_black_bowl_1"]
        assert np.abs(bowl - drawer).max() < 0.08
