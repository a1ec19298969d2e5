"""The columns of a LIBERO data set."""

from __future__ import annotations

from helmsight.envs.libero.tasks import suite_tasks
from helmsight.training.collection.libero.settings import LiberoCollection
from helmsight.training.dataset.format import INSTRUCTIONS, Features, embodiment_features

OTHER_FOCUS, OTHER_INSTRUCTION = "simulator.other_focus", "simulator.other_instruction"


def libero_features(settings: LiberoCollection) -> Features:
    """The data set's features for the settings.

    `simulator.focus` is where the thing is that the expert deals with, and where it is to go.
    `simulator.other_focus` is the same for each of the suite's tasks, six numbers a task, and
    `simulator.other_instruction` the tasks' places in the list that the feature's `info` holds; -1
    and zeros for the task that the arm was told, and for those that the scene does not allow.
    `simulator.state` is the physics' state (time, positions, velocities) in a suite whose tasks
    all have one of the same size; elsewhere (libero_10) there is no such column.
    """
    features = embodiment_features(settings.embodiment())
    positions = [f"{what}_{axis}" for what in ("thing", "place") for axis in "xyz"]
    focus = {"dtype": "float32", "shape": [6], "names": positions}
    features["simulator.focus"] = focus
    tasks = [task.language for task in suite_tasks(settings.suite)]
    features[OTHER_FOCUS] = {
        "dtype": "float32",
        "shape": [6 * len(tasks)],
        "names": [f"{index}_{name}" for index in range(len(tasks)) for name in positions],
    }
    features[OTHER_INSTRUCTION] = {
        "dtype": "int64",
        "shape": [len(tasks)],
        "names": [str(index) for index in range(len(tasks))],
        "info": {INSTRUCTIONS: tasks},
    }
    size = physics_size(settings.suite)
    if size is not None:
        features["simulator.state"] = {"dtype": "float64", "shape": [size], "names": None}
    features["next.done"] = {"dtype": "bool", "shape": [1], "names": None}
    features["next.success"] = {"dtype": "bool", "shape": [1], "names": None}
    return features


def physics_size(suite: str) -> int | None:
    """Numbers in the physics' state of a suite's tasks, or None where they differ."""
    sizes = {task.initial_states().shape[1] for task in suite_tasks(suite)}
    return sizes.pop() if len(sizes) == 1 else None
