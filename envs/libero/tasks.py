"""The benchmark's suites and tasks, read from hf-libero's files without its simulator."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.package import require_package

# Control steps until an episode counts as failed, as published with the benchmark's results.
STEP_LIMITS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
SUITES = tuple(STEP_LIMITS)
INITIAL_STATES = 50


@dataclass(frozen=True)
class LiberoTask:
    """One task of a suite; `language` is its instruction."""

    suite: str
    index: int
    name: str
    language: str

    @property
    def step_limit(self) -> int:
        """Control steps until an episode counts as failed."""
        return STEP_LIMITS[self.suite]

    @property
    def bddl_file(self) -> Path:
        """What defines the scene and the goal."""
        return require_package() / "bddl_files" / self.suite / f"{self.name}.bddl"

    @property
    def scene(self) -> str:
        """The kind of scene, such as "libero_floor_manipulation"."""
        definition = re.search(r"\(problem\s+(\w+)\)", self.bddl_file.read_text(encoding="utf-8"))
        if definition is None:
            raise ValueError(f"{self.bddl_file} names no problem")
        return definition[1].lower()

    def initial_states(self) -> NDArray[np.float64]:
        """The benchmark's initial states [50, 1 + nq + nv]: time, positions, velocities."""
        import torch

        file = require_package() / "init_files" / self.suite / f"{self.name}.pruned_init"
        # Pickled arrays; they come with the package and are trusted as it is.
        states = np.asarray(torch.load(file, weights_only=False), np.float64)
        if len(states) < INITIAL_STATES:
            raise ValueError(f"{file} holds {len(states)} initial states, expected 50")
        return states[:INITIAL_STATES]


def suite_tasks(suite: str) -> tuple[LiberoTask, ...]:
    """A suite's tasks in the benchmark's order. Raises ValueError, listing all, for another."""
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}; the suites are {', '.join(SUITES)}")
    names = _task_names()[suite]
    return tuple(
        LiberoTask(suite, index, name, _instruction(name)) for index, name in enumerate(names)
    )


def find_task(suite: str, index: int) -> LiberoTask:
    """One task. Raises ValueError, listing the suite's tasks, for an index that it lacks."""
    tasks = suite_tasks(suite)
    if not 0 <= index < len(tasks):
        listed = "\n".join(f"  {task.index}: {task.language}" for task in tasks)
        raise ValueError(f"{suite} has no task {index!r}; its tasks are\n{listed}")
    return tasks[index]


@lru_cache(maxsize=1)
def _task_names() -> dict[str, list[str]]:
    """Names of every suite's tasks; the file is a dictionary, read without importing torch."""
    file = require_package() / "benchmark" / "libero_suite_task_map.py"
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            names: dict[str, list[str]] = ast.literal_eval(statement.value)
            return names
    raise ValueError(f"{file} lists no tasks")


def _instruction(name: str) -> str:
    """The instruction in a task's name; tasks of libero_90 and libero_10 name their scene first."""
    words = name.split("_")
    scene = [place for place, word in enumerate(words) if word.startswith("SCENE")]
    return " ".join(words[scene[0] + 1 :] if scene else words)
