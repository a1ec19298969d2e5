"""`helmsight eval`: drive a policy in closed loop and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration
from helmsight.cli.output_folder import EVALUATION, output_folder
from helmsight.cli.trained_options import as_trained, refuse_other_robot

if TYPE_CHECKING:
    from helmsight.eval.sources import PolicySource

PARKING_EPISODES = 96


def run(words: list[str]) -> int:
    """Evaluate; returns the exit code: 1 when episodes ended in an error."""
    values = configuration("eval", words)
    if values is None:
        return 0
    from helmsight.envs.parking.simulator_registry import require_free_server
    from helmsight.eval.evaluation import (
        EpisodesFailed,
        EvaluationInterrupted,
        EvaluationSettings,
        evaluate,
    )
    from helmsight.policies.device import usable_device

    out = output_folder(values["out"], EVALUATION)
    usable_device(values["device"])
    if _is_libero(values) and values["motion"] is not None:
        raise ValueError("motion= tracks a parking car's target; leave it out with env=libero")
    driver, options = _driver(values)
    settings = EvaluationSettings(
        checkpoint=driver,
        out=out,
        env=values["env_id"],
        env_kwargs=options,
        episodes=episodes_to_drive(values),
        **{
            key: values[key]
            for key in (
                "workers",
                "threads",
                "seed",
                "device",
                "motion",
                "success_videos",
                "failure_videos",
            )
        },
    )
    if _is_libero(values) and options.get("instruction") == "swapped":
        _refuse_unswappable(values["suite"], settings.episode_indices)
    require_free_server(options.get("simulator", ""), settings.workers)
    try:
        summary = evaluate(settings)
    except EvaluationInterrupted as interruption:
        print(f"helmsight eval: {interruption}")
        return 130
    except EpisodesFailed as failure:
        print(failure.summary.table())
        print(f"helmsight eval: {failure}")
        return 1
    print(summary.table())
    print(f"report: {out / 'report.html'}")
    return 0


def _driver(values: dict[str, Any]) -> tuple[str | PolicySource, dict[str, Any]]:
    """What drives, and the options of its environment.

    That is the checkpoint itself, or the modular driver with the checkpoint's eyes. Raises
    ValueError naming an option that the modular driver does not have or allow.
    """
    checkpoint, policy = values["checkpoint"], dict(values["policy"])
    kind = policy.pop("type")
    if kind == "checkpoint" and Path(checkpoint).suffix == ".onnx":
        return _exported(values)
    refuse_other_robot(checkpoint, _is_libero(values))
    options = as_trained(checkpoint, values["env_options"])
    if kind == "checkpoint":
        return checkpoint, options
    from helmsight.eval.modular.policy import ModularConfig
    from helmsight.eval.modular.source import ModularSource
    from helmsight.policies.plain_config import config_from_dict

    source = ModularSource(checkpoint, config_from_dict(ModularConfig, policy))
    return source, {**source.environment_options(), **options}


def _exported(values: dict[str, Any]) -> tuple[PolicySource, dict[str, Any]]:
    """An exported file, and the options of its environment."""
    from helmsight.cli.exported_policy import ExportedSource

    source = ExportedSource(Path(values["checkpoint"]), values["threads"])
    given = {key: value for key, value in values["env_options"].items() if value is not None}
    return source, {**source.environment_options(), **given}


def episodes_to_drive(values: dict[str, Any]) -> int | list[int]:
    """Which episodes to run; of LIBERO the first so many of each task, in the order of the tasks.

    Raises ValueError for a task or a number of episodes that the suite does not have.
    """
    libero = _is_libero(values)
    if values["episodes"] is not None:
        if libero and values["tasks"] is not None:
            raise ValueError(
                "episodes and tasks both say what to run; give one of them (episode 50 t + i is "
                "initial state i of task t)"
            )
        return _in_split(values, libero)
    if not libero:
        return PARKING_EPISODES
    from helmsight.envs.libero.tasks import INITIAL_STATES, find_task, suite_tasks

    count, suite = values["episodes_per_task"], values["suite"]
    if not isinstance(count, int) or not 1 <= count <= INITIAL_STATES:
        raise ValueError(f"episodes_per_task must be 1 to {INITIAL_STATES}, got {count!r}")
    wanted = values["tasks"]
    if isinstance(wanted, int):
        wanted = [wanted]
    tasks = suite_tasks(suite) if wanted is None else [find_task(suite, task) for task in wanted]
    return [task.index * INITIAL_STATES + scene for task in tasks for scene in range(count)]


def _in_split(values: dict[str, Any], libero: bool) -> int | list[int]:
    """The episodes that were asked for, none of which the parking splits do not have."""
    from helmsight.envs.parking.scenario import refuse_wrong_scenario

    episodes = values["episodes"]
    if not libero:
        wanted = episodes if isinstance(episodes, list) else [max(episodes - 1, 0)]
        for index in wanted:
            refuse_wrong_scenario(values["family"], values["split"], index, values["approach"])
    return episodes


def _refuse_unswappable(suite: str, episodes: list[int]) -> None:
    """Raise ValueError for tasks whose every episode would end in an error, naming them."""
    from helmsight.envs.libero.instructions import refuse_tasks_without_other_goal
    from helmsight.envs.libero.tasks import INITIAL_STATES, find_task

    wanted = sorted({episode // INITIAL_STATES for episode in episodes})
    refuse_tasks_without_other_goal([find_task(suite, index) for index in wanted])


def _is_libero(values: dict[str, Any]) -> bool:
    from helmsight.envs.registration import LIBERO_ID

    return values["env_id"] == LIBERO_ID
