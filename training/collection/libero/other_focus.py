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

NO_OTHER = -1


def other_focus(
    simulator: LiberoSimulator,
    told: Order,
    states: Sequence[LiberoState],
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """An instruction drawn for each state and its focus: ([T, 1], [T, 6]).

    The instructions are other tasks of the suite, by their index, whose goals the scene allows;
    `NO_OTHER` and zeros where it allows none. The focus is `goal_focus`. Leaves the simulator in
    the last of the states.
    """
    orders = [task_order(simulator.task), *possible_orders(simulator.task, simulator.things)]
    others = [order for order in orders if order != told]
    instructions = np.full((len(states), 1), NO_OTHER, np.int64)
    focus = np.zeros((len(states), 6), np.float32)
    if not others:
        return instructions, focus
    index_of = {task.language: task.index for task in suite_tasks(simulator.task.suite)}
    scene = Scene(simulator)
    for frame, state in enumerate(states):
        simulator.set_state(state)
        order = others[int(random.integers(len(others)))]
        instructions[frame] = index_of[order.instruction]
        focus[frame] = goal_focus(scene, order.goal)
    return instructions, focus
