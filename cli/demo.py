"""`helmsight demo`: collect, train and evaluate, by the commands that a user would type."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import PLAIN, configuration, quoted


@dataclass(frozen=True)
class Stage:
    """One command of the demo: its words, what it does, and how long that takes."""

    command: str
    words: list[str]
    purpose: str
    duration: str


def run(words: list[str]) -> int:
    """Collect, train, evaluate; returns the exit code of the stage that did not succeed, or 0.

    Every stage leaves its work on disk and goes on from there, so a second call repeats nothing.
    Raises ValueError for a word that one of the stages does not know.
    """
    values = configuration("demo", words)
    if values is None:
        return 0
    started = time.monotonic()
    out = Path(values["out"])
    from helmsight.policies.pretrained import policy_folder

    policy_folder(values["beside"])  # not found after ten minutes, but now
    stages = _stages(values, out)
    for stage in stages:
        configuration(stage.command, stage.words)  # a wrong word is refused before any work
    print("A car learns to park from what its four cameras see. Four steps, about ten minutes on")
    print(f"2 cores; Ctrl-C stops, and the same command goes on. Everything goes into {out}/.")
    for number, stage in enumerate(stages, start=1):
        print(f"\n[{number}/{len(stages)}] {stage.purpose} ({stage.duration})")
        print(f"      helmsight {stage.command} {shlex.join(stage.words)}\n", flush=True)
        code = _command(stage.command)(stage.words)
        if code != 0:
            return code
    minutes = (time.monotonic() - started) / 60.0
    print(f"\nDone in {minutes:.1f} min. Open {(out / 'evaluation' / 'report.html').resolve()}")
    print("in a browser: every episode's path, and films of what the policy saw and looked at.")
    print(_next_steps(out))
    return 0


def _stages(values: Mapping[str, Any], out: Path) -> list[Stage]:
    data, policy, evaluation = str(out / "data"), str(out / "policy"), str(out / "evaluation")
    collect, train, evaluate = values["collect"], values["train"], values["evaluate"]
    beside = {"checkpoint": values["beside"], "out": str(out / "evaluation_beside")}
    minutes = f"{train['max_minutes']:g} min"
    return [
        Stage(
            "collect",
            list(override_words({"out": data, **collect})),
            f"Record {collect['episodes']} demonstrations of the expert",
            "about 2.5 min",
        ),
        Stage(
            "train",
            list(override_words({"data": data, "out": policy, **train})),
            "Train a policy from scratch to do what the expert did",
            minutes,
        ),
        Stage(
            "eval",
            list(override_words({"checkpoint": policy, "out": evaluation, **evaluate})),
            f"Let it park in {evaluate['episodes']} test scenarios that it has never seen",
            "about 1.5 min",
        ),
        Stage(
            "eval",
            list(override_words({**beside, **evaluate})),
            f"The same scenarios with {values['beside']}, which comes along and learnt longer",
            "about 1.5 min",
        ),
    ]


def _command(name: str) -> Callable[[list[str]], int]:
    """What `helmsight NAME` calls."""
    from importlib import import_module

    command: Callable[[list[str]], int] = import_module(f"helmsight.cli.{name}").run
    return command


def override_words(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The KEY=VALUE words that set `values`; the keys of nested mappings are joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from override_words(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={_literal(value)}"


def _literal(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    text = str(value)
    if not isinstance(value, str) or PLAIN.fullmatch(text):
        return text
    return quoted(text)


def _next_steps(out: Path) -> str:
    data, policy, shifted = (
        shlex.quote(str(out / name)) for name in ("data", "policy", "evaluation_shifted")
    )
    state = shlex.quote(str(out / "policy_state"))
    return f"""
Next (.venv/bin/helmsight, or `helmsight` after `source .venv/bin/activate`):
  the same policy in surfaces, light and colours that it was not trained in
    helmsight eval checkpoint={policy} split=shifted episodes=16 out={shifted}
  the yardstick that a camera policy must beat: the same policy without cameras
    helmsight train policy=state data={data} out={state} max_minutes=3
  the whole job: more demonstrations, an hour of training (see README.md)
    helmsight collect episodes=700 out=data/parking
    helmsight train policy=parking data=data/parking out=runs/parking max_minutes=60"""
