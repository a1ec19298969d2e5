"""What the arm is told: the task's own sentence, a paraphrase, or another task of the scene."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from helmsight.envs.libero.package import import_libero
from helmsight.envs.libero.tasks import LiberoTask, suite_tasks

# Names that stand for an instruction which depends on the task; anything else is said as it is.
ORIGINAL, PARAPHRASED, SWAPPED = "original", "paraphrased", "swapped"

Goal = tuple[tuple[str, ...], ...]

# A paraphrase replaces the verbs of the benchmark's sentences, and may wrap them.
_VERBS = (
    {
        "pick up": "grab",
        "place": "put",
        "put": "place",
        "open": "pull open",
        "close": "shut",
        "turn on": "switch on",
        "turn off": "switch off",
        "push": "slide",
        "stack": "pile",
    },
    {
        "pick up": "take",
        "place": "set",
        "put": "set",
        "open": "slide open",
        "close": "push shut",
        "turn on": "start",
        "turn off": "stop",
        "push": "move",
        "stack": "heap",
    },
    {
        "pick up": "lift",
        "place": "drop",
        "put": "move",
        "open": "unclose",
        "close": "slam",
        "turn on": "fire up",
        "turn off": "shut off",
        "push": "shove",
        "stack": "set",
    },
)
_FRAMES = ("{}", "please {}", "your task is to {}", "could you {}?")
PARAPHRASES = len(_VERBS) * len(_FRAMES)


@dataclass(frozen=True)
class Order:
    """An instruction and the goal that it stands for: predicates that must hold together."""

    instruction: str
    goal: Goal


@lru_cache(maxsize=256)
def task_goal(task: LiberoTask) -> Goal:
    """The predicates of a task, each a name and its arguments."""
    import_libero()
    from libero.libero.envs import bddl_utils

    states: Any = bddl_utils.robosuite_parse_problem(str(task.bddl_file))["goal_state"]
    return tuple(tuple(state) for state in states)


def paraphrase(instruction: str, variant: int) -> str:
    """One of `PARAPHRASES` other ways to say a benchmark's instruction; no two are the same.

    Raises ValueError for an instruction without a verb of the benchmark's.
    """
    frame, verbs = divmod(variant % PARAPHRASES, len(_VERBS))
    table = _VERBS[verbs]
    pattern = r"\b(" + "|".join(sorted(table, key=len, reverse=True)) + r")\b"
    said, count = re.subn(pattern, lambda match: table[match[1]], instruction)
    if count == 0:
        raise ValueError(f"no verb to paraphrase in {instruction!r}; known are {', '.join(table)}")
    return _FRAMES[frame].format(said)


def choose_order(
    task: LiberoTask,
    things: frozenset[str],
    said: str,
    episode: int,
    holds: Callable[[Goal], bool] = lambda goal: False,
) -> Order:
    """What to tell the arm in a scene, and when it has done so.

    things: names of everything that goals can be about in the scene. said: `ORIGINAL`,
    `PARAPHRASED` (which one depends on the episode), `SWAPPED` (the next task of the suite whose
    goal the scene allows and does not fulfil yet), the sentence of another task of the suite, or
    any other sentence, which then is a paraphrase of the task's own. holds: whether the scene
    fulfils a goal as the episode begins.

    Raises ValueError where the scene does not allow the other task.
    """
    if said == ORIGINAL:
        return task_order(task)
    if said == PARAPHRASED:
        return Order(paraphrase(task.language, episode), task_goal(task))
    if said == SWAPPED:
        return _swapped(task, possible_orders(task, things), holds)
    if said not in {other.language for other in _others(task)}:
        return Order(said, task_goal(task))
    possible = {order.instruction: order for order in possible_orders(task, things)}
    if said not in possible:
        names = "".join(f"\n  {name}" for name in possible) or " none"
        raise ValueError(
            f"{said!r} can not be done in the scene of {task.suite} task {task.index}; its other "
            f"instructions are{names}"
        )
    return possible[said]


def refuse_tasks_without_other_goal(tasks: Sequence[LiberoTask]) -> None:
    """Raise ValueError, naming them, for tasks of whose suite all others have the same goal.

    No scene of theirs can be told something else: all of libero_spatial ask for one thing.
    """
    alike = [
        task.index
        for task in tasks
        if all(task_goal(other) == task_goal(task) for other in _others(task))
    ]
    if alike:
        raise ValueError(
            f"instruction=swapped needs another task with another goal, and {tasks[0].suite} has "
            f"none for its tasks {', '.join(map(str, alike))}"
        )


def _swapped(task: LiberoTask, possible: list[Order], holds: Callable[[Goal], bool]) -> Order:
    """The first order that is still to be carried out."""
    for order in possible:
        # An arm that does nothing at all would succeed in the others.
        if not holds(order.goal):
            return order
    reason = "holds at its start" if possible else "is about things that are not there"
    raise ValueError(
        f"nothing else can be asked for in the scene of {task.suite} task {task.index}: every "
        f"other goal {reason}"
    )


def task_order(task: LiberoTask) -> Order:
    """A task's own instruction and goal."""
    return Order(task.language, task_goal(task))


def possible_orders(task: LiberoTask, things: frozenset[str]) -> list[Order]:
    """What other tasks of the suite ask for in a task's scene that holds `things`, the next
    task's first."""
    own = task_goal(task)
    orders = [task_order(other) for other in _others(task)]
    return [order for order in orders if order.goal != own and _arguments(order.goal) <= things]


def _others(task: LiberoTask) -> list[LiberoTask]:
    """The suite's other tasks, the next one first."""
    others = [other for other in suite_tasks(task.suite) if other.index != task.index]
    return sorted(others, key=lambda other: (other.index - task.index) % 100)


def _arguments(goal: Goal) -> frozenset[str]:
    return frozenset(name for _, *names in goal for name in names)
