from __future__ import annotations

import pytest
from libero_worlds import NEEDS_PACKAGE

from helmsight.envs.libero.tasks import SUITES, find_task, suite_tasks

pytestmark = NEEDS_PACKAGE


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_its_tasks_with_files(suite):
    tasks = suite_tasks(suite)
    assert len(tasks) == (90 if suite == "libero_90" else 10)
    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert all(task.bddl_file.is_file() for task in tasks)


def test_instructions_are_sentences_without_the_scenes_name():
    assert find_task("libero_object", 6).language == "pick up the butter and place it in the basket"
    languages = [task.language for task in suite_tasks("libero_10")]
    assert "turn on the stove and put the moka pot on it" in languages
    assert not any("SCENE" in language or "_" in language for language in languages)


def test_initial_states_are_fifty_of_one_size():
    states = find_task("libero_goal", 0).initial_states()
    assert states.shape[0] == 50 and states.ndim == 2


def test_an_unknown_suite_is_answered_with_the_list():
    with pytest.raises(ValueError, match=r"'libero_kitchen'.*libero_spatial, libero_object"):
        suite_tasks("libero_kitchen")


@pytest.mark.parametrize("index", [-1, 10])
def test_an_unknown_task_is_answered_with_the_list(index):
    with pytest.raises(ValueError, match="9: pick up the orange juice"):
        find_task("libero_object", index)
