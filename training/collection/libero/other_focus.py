"""Where to look in a scene if the arm had been told something else.

A demonstration shows one instruction in its scene; from it alone a policy may learn what the scene
usually asks for instead of what it was told. Where the other things are costs no demonstration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.expert.focus import first_focus
from helmsight.envs.libero.expert.scene import Scene
from helmsight.envs.libero.instructions import Order, possible_orders, task_order
from helmsight.envs.libero.simulator import LiberoSimulator
from helmsight.envs.libero.tasks import suite_tasks

NOT_POSSIBLE = -1


class OtherFocus:
    """The focus for each of the suite's K tasks that the scene allows and the arm was not told.

    instructions [K]: the tasks by their index, or `NOT_POSSIBLE`.
    """

    def __init__(self, simulator: LiberoSimulator, told: Order) -> None:
        tasks = suite_tasks(simulator.task.suite)
        index_of = {task.language: task.index for task in tasks}
        orders = [task_order(simulator.task), *possible_orders(simulator.task, simulator.things)]
        self._scene = Scene(simulator)
        self._predicates = {
            index_of[order.instruction]: self._scene.in_order(order.goal)
            for order in orders
            if order != told
        }
        self.instructions = np.full(len(tasks), NOT_POSSIBLE, np.int64)
        self.instructions[list(self._predicates)] = list(self._predicates)

    def now(self) -> NDArray[np.float32]:
        """`first_focus` of each task in the simulator's state now, [6 K]; zeros for the rest."""
        focus = np.zeros((len(self.instructions), 6), np.float32)
        for index, predicates in self._predicates.items():
            focus[index] = first_focus(self._scene, predicates)
        return focus.ravel()  # [K, 6] -> [6 K]
