"""`helmsight train`: train a policy on recorded demonstrations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration
from helmsight.cli.output_folder import TRAINING_RUN, output_folder

# Options that say which policy is trained, and none that the training loop reads.
_OF_THE_POLICY = ("policy", "start", "teacher")


def run(words: list[str]) -> int:
    """Train; returns the exit code, 130 after Ctrl-C."""
    values = configuration("train", words)
    if values is None:
        return 0
    from helmsight.training.memory import keep_freed_memory

    keep_freed_memory()
    from helmsight.policies.base import policy_type
    from helmsight.policies.plain_config import config_from_dict
    from helmsight.training.data import train
    from helmsight.training.fine_tuning import prepared
    from helmsight.training.settings import TrainingSettings

    policy = dict(values["policy"])
    policy_class = policy_type(policy.pop("type"))
    if "attention" not in {field.name for field in dataclasses.fields(policy_class.config_class)}:
        _refuse_attention(values["policy"]["type"], words)
        policy.pop("attention", None)  # every policy is composed with one
    policy_config = config_from_dict(policy_class.config_class, policy)
    settings = config_from_dict(TrainingSettings, _settings(values))

    def make_policy(embodiment: Any, statistics: Any) -> Any:
        return policy_class(policy_config, embodiment, statistics)

    made = prepared(make_policy, values["start"], values["teacher"])
    summary = train(settings, made, config=values)
    if not summary.completed:
        print(f"stopped at step {summary.steps}; the same command goes on from there")
        return 130
    print(f"{summary.steps} steps in {summary.wall_minutes:.1f} min; policy: {summary.policy}")
    return 0


def _refuse_attention(policy: str, words: list[str]) -> None:
    asked = [word for word in words if word.startswith(("attention=", "policy.attention."))]
    if asked:
        raise ValueError(f"policy={policy} has no attention over tokens; leave {asked[0]} out")


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    chosen = {key: value for key, value in values.items() if key not in _OF_THE_POLICY}
    data = values["data"] if isinstance(values["data"], list) else [values["data"]]
    chosen["data"] = tuple(Path(str(folder)) for folder in data)
    chosen["out"] = output_folder(values["out"], TRAINING_RUN)
    return chosen
