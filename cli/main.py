"""Entry point of the `helmsight` command. Imports nothing heavy before it knows what is asked."""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS = {
    "collect": "record demonstrations of a simulator's expert as a LeRobot data set",
    "train": "train a policy on recorded demonstrations",
    "eval": "drive a policy in closed loop; records, metrics with intervals, a report",
    "explain": "see what a policy looks at, and measure whether that is what drives it",
    "compare": "compare two evaluations over the same episodes, in pairs",
    "drift": "measure how far the tracked target drifts, by a motion model and by the bicycle",
    "sweep": "train and evaluate variants with several seeds, compared in pairs",
    "carla": "start CARLA, or serve its protocol with the MuJoCo lot behind it",
    "export": "write a policy as one ONNX file, checked against torch",
    "serve": "serve a policy to robots over openpi's websocket protocol",
    "drive": "drive a robot with a served policy: fixed rate, safety limits",
    "bench": "measure speed on this machine",
    "doctor": "say what works on this machine, and how to get what does not",
    "demo": "collect, train and evaluate a small parking policy in ten minutes",
}

# Extras of pyproject.toml that bring what a command may find missing; all else comes with `train`.
EXTRAS = {"msgpack": "deploy", "websockets": "deploy", "onnxruntime": "deploy", "onnx": "export"}

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def usage() -> str:
    """The text of `helmsight --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: helmsight COMMAND [KEY=VALUE ...]",
            "",
            "Visuomotor policies whose attention is steered by what their controls depend on.",
            "",
            "commands:",
            *lines,
            "",
            "helmsight COMMAND --help lists a command's keys and their defaults.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the process's exit code.

    Bad input ends in one line on standard error and exit code 2; HELMSIGHT_TRACEBACK=1 shows the
    whole traceback.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    command, *rest = words
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        names = ", ".join(COMMANDS)
        print(f"helmsight: no command {command!r}{hint} (commands: {names})", file=sys.stderr)
        return EXIT_BAD_INPUT
    module = importlib.import_module(f"helmsight.cli.{command}")
    try:
        return module.run(rest)
    except KeyboardInterrupt as interruption:
        message = str(interruption) or "interrupted"
        print(f"helmsight {command}: {message}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("helmsight"):
            raise
        remedy = f"pip install 'helmsight[{EXTRAS.get(error.name.split('.')[0], 'train')}]'"
        print(f"helmsight {command}: {error.name} is missing: {remedy}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        if os.environ.get("HELMSIGHT_TRACEBACK"):
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"helmsight {command}: {text}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
