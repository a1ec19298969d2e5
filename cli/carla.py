"""`helmsight carla`: CARLA's server, or its protocol with the MuJoCo lot behind it."""

from __future__ import annotations

from typing import Any

from helmsight.cli.configuration import HELP_WORDS, configuration, require_counts

LABEL = "carla-protocol (MuJoCo)"
USAGE = """usage: helmsight carla COMMAND KEY=VALUE ...

serve   answer CARLA 0.9.16's client on loopback, with the MuJoCo lot in place of CARLA
launch  start CARLA's own server (CARLA_ROOT, or Docker) and say when it answers; Ctrl-C ends it
check   drive a served lot through CARLA's client beside the native one; pictures, leaks, times

helmsight carla serve --help lists the keys."""


def run(words: list[str]) -> int:
    """Run one of the sub-commands; returns the exit code."""
    if not words or words[0] in HELP_WORDS:
        print(USAGE)
        return 0
    action, *rest = words
    actions = {"serve": _serve, "launch": _launch, "check": _check}
    if action not in actions:
        raise ValueError(f"helmsight carla knows {', '.join(actions)}; got {action!r}")
    values = configuration(f"carla {action}", rest)
    return 0 if values is None else actions[action](values)


def _serve(values: dict[str, Any]) -> int:
    port = values["port"]
    if not (isinstance(port, int) and 0 <= port < 65535):
        raise ValueError(f"port must be 0 (a free one) to 65534, got {port!r}")
    try:
        from helmsight.envs.parking.carla_server.server import HOST, serve
    except ModuleNotFoundError as error:
        if error.name != "msgpack":
            raise
        raise ValueError("serving needs msgpack: pip install 'helmsight[carla]'") from None
    serve(port, lambda given: print(f"{LABEL} listening on {HOST}:{given}", flush=True))
    return 0


def _launch(values: dict[str, Any]) -> int:
    import os

    from helmsight.envs.parking.carla.launch import LaunchedServer, server_command

    port = values["port"]
    command = server_command(os.environ.get("CARLA_ROOT"), port)
    server = LaunchedServer(command, port, values["seconds"])
    print(f"CARLA answers on port {port}; Ctrl-C ends it", flush=True)
    try:
        return server.wait()
    finally:
        server.close()


def _check(values: dict[str, Any]) -> int:
    import json

    from helmsight.eval.benchmarks.carla_protocol import compare_with_native
    from helmsight.eval.progress import ProgressReporter

    names = ("episodes", "ticks", "cameras", "image_size")
    episodes, ticks, cameras, image_size = (values[name] for name in names)
    require_counts(values, "episodes", "ticks")
    with ProgressReporter("Checking", episodes, success="driven") as progress:
        found = compare_with_native(
            episodes, ticks, cameras, image_size, lambda done, total: progress.advance(True)
        )
    print(json.dumps(found.to_dict(), indent=2))
    return 0 if found.clean else 1
