"""Of every recorded frame: where to look if the arm had been told something else.

A demonstration shows one instruction in its scene; from it alone a policy may learn what the scene
usually asks for instead of what it was told. Where the other things are costs no demonstration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.focus import goal_focus
from helmsight.envs.libero.expert.scene import Scene
from helmsight.envs.libero.instructions import Order, possible_orders, task_order
from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState
from helmsight.envs.libero.tasks import suite_tasks

NOT_POSSIBLE = -1


def other_focus(
    simulator: LiberoSimulator, told: Order, states: Sequence[LiberoState]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each state's focus for the K tasks of the suite: ([T, K], [T, 6 K]).

    The first are the tasks by their index, or `NOT_POSSIBLE` for one whose goal the scene does not
    allow, and for the one that was told. The second are `goal_focus` of each, or zeros. Leaves the
    simulator in the last of the states.
    """
    tasks = suite_tasks(simulator.task.suite)
    index_of = {task.language: task.index for task in tasks}
    orders = [task_order(simulator.task), *possible_orders(simulator.task, simulator.things)]
    others = {index_of[order.instruction]: order for order in orders if order != told}
    instructions = np.full((len(states), len(tasks)), NOT_POSSIBLE, np.int64)
    instructions[:, list(others)] = list(others)
    focus = np.zeros((len(states), len(tasks), 6), np.float32)
    scene = Scene(simulator)
    for frame, state in enumerate(states):
        simulator.set_state(state)
        for index, order in others.items():
            focus[frame, index] = goal_focus(scene, order.goal)
    return instructions, focus.reshape(len(states), -1)  # [T, K, 6] -> [T, 6 K]
