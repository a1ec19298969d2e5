from __future__ import annotations

import itertools

import pytest
from libero_worlds import NEEDS_PACKAGE, NEEDS_SCENES

from helmsight.envs.libero.instructions import (
    ORIGINAL,
    PARAPHRASED,
    PARAPHRASES,
    SWAPPED,
    choose_order,
    paraphrase,
    possible_orders,
    refuse_tasks_without_other_goal,
    task_goal,
)
from helmsight.envs.libero.tasks import SUITES, find_task, suite_tasks

MILK = "pick up the milk and place it in the basket"


def test_a_paraphrase_keeps_the_things_and_changes_the_verbs():
    assert paraphrase(MILK, 0) == "grab the milk and put it in the basket"
    assert paraphrase(MILK, 4) == "please take the milk and set it in the basket"


def test_verbs_are_not_replaced_twice():
    assert paraphrase("put the bowl on the stove", 0) == "place the bowl on the stove"


@NEEDS_PACKAGE
@pytest.mark.parametrize("suite", SUITES)
def test_paraphrases_are_other_sentences_than_all_instructions(suite):
    tasks = suite_tasks(suite)
    said = {paraphrase(task.language, k) for task in tasks for k in range(PARAPHRASES)}
    # libero_90 has the same sentence in several scenes.
    assert len(said) == PARAPHRASES * len({task.language for task in tasks})
    assert not said & {task.language for task in tasks}


def test_a_sentence_without_a_known_verb_is_refused():
    with pytest.raises(ValueError, match="no verb to paraphrase in 'dance'"):
        paraphrase("dance", 0)


@NEEDS_SCENES
def test_the_original_order_is_the_tasks_own():
    task = find_task("libero_object", 7)
    order = choose_order(task, frozenset(), ORIGINAL, 0)
    assert order.instruction == MILK
    assert order.goal == (("in", "milk_1", "basket_1_contain_region"),)


@NEEDS_SCENES
def test_paraphrases_go_with_the_episode_and_keep_the_goal():
    task = find_task("libero_object", 7)
    orders = [choose_order(task, frozenset(), PARAPHRASED, episode) for episode in range(4)]
    assert len({order.instruction for order in orders}) == 4
    assert {order.goal for order in orders} == {task_goal(task)}


@NEEDS_SCENES
def test_any_other_sentence_is_a_paraphrase_of_the_task():
    task = find_task("libero_object", 7)
    order = choose_order(task, frozenset(), "milk, basket", 0)
    assert (order.instruction, order.goal) == ("milk, basket", task_goal(task))


@NEEDS_SCENES
def test_a_swapped_order_is_about_things_of_the_scene(milk):
    order = choose_order(milk.task, milk.things, SWAPPED, 0)
    assert order.instruction != MILK
    names = set(itertools.chain.from_iterable(arguments for _, *arguments in order.goal))
    assert names <= milk.things
    assert order.goal != task_goal(milk.task)


@NEEDS_SCENES
def test_a_swapped_order_that_holds_at_the_start_is_passed_over_for_the_next(stove):
    first, second = possible_orders(stove.task, stove.things)[:2]
    assert choose_order(stove.task, stove.things, SWAPPED, 0) == first
    held = choose_order(stove.task, stove.things, SWAPPED, 0, lambda goal: goal == first.goal)
    assert held == second


@NEEDS_SCENES
def test_a_scene_that_fulfils_every_other_goal_is_refused(stove):
    with pytest.raises(ValueError, match="libero_goal task 7: every other goal holds"):
        choose_order(stove.task, stove.things, SWAPPED, 0, lambda goal: True)


@NEEDS_SCENES
def test_a_scene_without_the_things_of_another_goal_is_refused(stove):
    with pytest.raises(ValueError, match="libero_goal task 7: every other goal is about"):
        choose_order(stove.task, frozenset(), SWAPPED, 0)


@NEEDS_SCENES
def test_tasks_of_one_goal_are_refused_by_name_and_others_are_not():
    refuse_tasks_without_other_goal(suite_tasks("libero_object"))
    with pytest.raises(ValueError, match="libero_spatial has none for its tasks 0, 3"):
        refuse_tasks_without_other_goal([find_task("libero_spatial", index) for index in (0, 3)])


@NEEDS_SCENES
def test_another_tasks_sentence_brings_its_goal(stove):
    order = choose_order(stove.task, stove.things, "put the bowl on the plate", 0)
    assert order.goal == task_goal(find_task("libero_goal", 8))


@NEEDS_SCENES
def test_an_order_that_the_scene_does_not_allow_is_answered_with_those_it_does(milk):
    absent = next(
        task.language
        for task in suite_tasks("libero_object")
        if f"{task.name.split('_and_')[0].removeprefix('pick_up_the_')}_1" not in milk.things
    )
    with pytest.raises(ValueError, match="its other instructions are\n  pick up the"):
        choose_order(milk.task, milk.things, absent, 0)
