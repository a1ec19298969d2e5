"""`helmsight doctor`: what works on this machine, and how to get what does not.

Each check is a function without arguments that returns a `Check`. What may take the process down
(OpenGL drivers do) runs in a process of its own.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

USAGE = """usage: helmsight doctor [--json]

Checks what helmsight needs and what it can use. Exit code 0 when the embedded parking simulator,
its training and its evaluation can run, 1 otherwise."""

SECONDS_TO_RENDER = 120
VIDEO = "video (H.264)"
LEAST_CONTRAST = 2.0
LEAST_MEMORY_GIB, LEAST_DISK_GIB = 4, 5

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """What one check found. `remedy` is what helps, a command where there is one.

    required: whether the embedded parking job needs it.
    """

    name: str
    state: State
    finding: str
    remedy: str = ""
    required: bool = True


# Looks once through the cameras of the parking lot, and says by what the picture was made.
_RENDER_PROGRAM = """
import json, os
import gymnasium
import helmsight.envs
environment = gymnasium.make("helmsight/Parking-v0")
observation, _ = environment.reset(seed=0, options={"episode": 0})
picture = next(value for key, value in observation.items() if ".images." in key)
from OpenGL import GL
name = GL.glGetString(GL.GL_RENDERER)
print(json.dumps({
    "backend": os.environ.get("MUJOCO_GL", "?"),
    "renderer": name.decode() if name else "unknown renderer",
    "contrast": float(picture.std()),
}))
"""


def check_python() -> Check:
    """Python's version."""
    found = f"{platform.python_version()} ({sys.executable})"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "ok", found)
    return Check("Python", "broken", found, "make setup PYTHON=/path/to/python3.12")


def check_torch() -> Check:
    """torch with the device that `device=auto` takes, and whether it multiplies bfloat16 itself."""
    try:
        import torch

        from helmsight.training.settings import uses_bfloat16
    except ImportError as error:
        return _not_importable("torch", error, "make setup")
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    bfloat16 = uses_bfloat16("auto", torch.device("cuda" if gpu else "cpu"))
    finding = f"{torch.__version__}, {device}, bf16 {'in hardware' if bfloat16 else 'not used'}"
    if not gpu and shutil.which("nvidia-smi") and "+cpu" in torch.__version__:
        remedy = f"pip install --force-reinstall torch=={torch.__version__.split('+')[0]}"
        return Check("torch", "ok", f"{finding}; this build leaves the GPU unused", remedy)
    return Check("torch", "ok", finding)


def check_mujoco() -> Check:
    """MuJoCo, by one step of physics."""
    try:
        import mujoco
    except ImportError as error:
        return _not_importable("MuJoCo", error, "make setup")
    except (AttributeError, RuntimeError) as error:
        # Importing it loads the OpenGL library that MUJOCO_GL names.
        chosen = os.environ.get("MUJOCO_GL", "")
        return Check("MuJoCo", "broken", f"MUJOCO_GL={chosen}: {error}", "export MUJOCO_GL=egl")
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
    mujoco.mj_step(model, mujoco.MjData(model))
    return Check("MuJoCo", "ok", mujoco.__version__)


def check_rendering() -> Check:
    """OpenGL, by a look at the parking lot in a process of its own."""
    name = "OpenGL"
    install = "sudo apt-get install -y libegl1 libgl1 libgl1-mesa-dri"
    if os.environ.get("MUJOCO_GL", "egl") != "egl":
        install = "export MUJOCO_GL=egl"
    command = [sys.executable, "-c", _RENDER_PROGRAM]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_TO_RENDER, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(name, "broken", f"no picture within {SECONDS_TO_RENDER} s", install)
    if result.returncode != 0:
        return Check(name, "broken", _last_words(result), install)
    report = json.loads(result.stdout.strip().splitlines()[-1])
    finding = f"{report['backend'].upper()}, {report['renderer']}"
    if report["contrast"] < LEAST_CONTRAST:
        return Check(name, "broken", f"{finding}: the picture is empty", install)
    return Check(name, "ok", finding)


def check_video() -> Check:
    """The video codec of data sets and reports, by a round trip of a few frames."""
    name = VIDEO
    remedy = "pip install --force-reinstall --only-binary=:all: av"
    try:
        import av
        import numpy as np
    except ImportError as error:
        return _not_importable(name, error, remedy)
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for level in (0, 100, 200):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        buffer.seek(0)
        with av.open(buffer) as container:
            means = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    except (av.FFmpegError, ValueError, OSError) as error:
        return Check(name, "broken", f"av {av.__version__}: {error}", remedy)
    if len(means) != 3 or abs(means[2] - 200) > 5:
        return Check(name, "broken", f"av {av.__version__}: frames came back changed", remedy)
    return Check(name, "ok", f"av {av.__version__}, libx264")


def check_carla() -> Check:
    """CARLA's client library; the server is a download of its own."""
    return _optional_package("CARLA client", "carla", "pip install carla==0.9.16")


def check_libero() -> Check:
    """LIBERO's packages and its assets; nothing of it is imported."""
    from helmsight.envs.libero.package import (
        ASSETS_REPOSITORY,
        ASSETS_VARIABLE,
        INSTALL,
        find_assets,
        package_folder,
    )

    name = "LIBERO"
    installed = _optional_package(name, "hf-libero", INSTALL)
    if installed.state != "ok":
        return installed
    for package in ("robosuite", "bddl", "numba", "scipy"):
        if importlib.util.find_spec(package) is None:
            finding = f"{installed.finding}, but without {package}"
            return Check(name, "broken", finding, INSTALL, required=False)
    if package_folder() is None:
        finding = f"{installed.finding}, but without its tasks"
        return Check(name, "broken", finding, INSTALL, required=False)
    assets = find_assets()
    if assets is not None:
        return Check(name, "ok", f"{installed.finding}, assets in {assets}", required=False)
    named = os.environ.get(ASSETS_VARIABLE)
    where = f" in {named}" if named else ""
    finding = f"{installed.finding}, but without its scene assets{where}"
    remedy = (
        "they are downloaded when an environment is made; without a network, get "
        f"{ASSETS_REPOSITORY} from huggingface.co and export {ASSETS_VARIABLE}=ITS_FOLDER"
    )
    return Check(name, "missing", finding, remedy, required=False)


def check_machine() -> Check:
    """Cores, memory and disk."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(Path.cwd()).free / 2**30
    finding = f"{cores} cores, {memory:.0f} GiB memory, {disk:.0f} GiB free in {Path.cwd()}"
    wanted = []
    if memory < LEAST_MEMORY_GIB:
        wanted.append(f"{LEAST_MEMORY_GIB} GiB of memory")
    if disk < LEAST_DISK_GIB:
        wanted.append(f"{LEAST_DISK_GIB} GiB of disk (or out=DIR on another one)")
    if wanted:
        return Check("machine", "missing", finding, "free up " + " and ".join(wanted))
    return Check("machine", "ok", finding)


CHECKS: dict[str, Callable[[], Check]] = {
    "Python": check_python,
    "torch": check_torch,
    "MuJoCo": check_mujoco,
    "OpenGL": check_rendering,
    VIDEO: check_video,
    "CARLA client": check_carla,
    "LIBERO": check_libero,
    "machine": check_machine,
}


def run(words: list[str]) -> int:
    """Check everything; returns 0 when the embedded parking job can run, otherwise 1."""
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    unknown = [word for word in words if word != "--json"]
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r} (options: --json)")
    checks = [_guarded(name, check) for name, check in CHECKS.items()]
    ready = all(check.state == "ok" for check in checks if check.required)
    if "--json" in words:
        print(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        _print_table(checks, ready)
    return 0 if ready else 1


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """The check's answer; a broken installation can raise anything from an import."""
    try:
        return check()
    except Exception as error:
        return Check(name, "broken", f"{type(error).__name__}: {error}", "make clean setup")


def _print_table(checks: list[Check], ready: bool) -> None:
    """A line a check and one below it for its remedy, which stays in one piece for copying."""
    colours = {"ok": 32, "missing": 33, "broken": 31}
    in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = f"{check.state:<7}"
        if in_colour:
            state = f"\033[{colours[check.state]}m{state}\033[0m"
        optional = "" if check.required else " (optional)"
        print(f"{check.name:<{width}}  {state}  {check.finding}{optional}")
        if check.remedy:
            print(f"{'':<{width}}  {'':<7}  get it: {check.remedy}")
    if ready:
        print("\nThe embedded parking simulator can run: helmsight demo")
    else:
        failing = [check.name for check in checks if check.required and check.state != "ok"]
        print(f"\nThe embedded parking simulator cannot run yet: {', '.join(failing)}")


def _not_importable(name: str, error: ImportError, remedy: str) -> Check:
    state: State = "missing" if isinstance(error, ModuleNotFoundError) else "broken"
    return Check(name, state, str(error), remedy)


def _optional_package(name: str, distribution: str, install: str) -> Check:
    try:
        return Check(name, "ok", version(distribution), required=False)
    except PackageNotFoundError:
        return Check(name, "missing", "not installed", install, required=False)


def _last_words(result: subprocess.CompletedProcess[str]) -> str:
    """Why a process failed: its last line on standard error, or the signal that ended it."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    if result.returncode < 0:
        import signal

        return f"rendering ended in {signal.Signals(-result.returncode).name}"
    return lines[-1].strip() if lines else f"rendering ended with exit code {result.returncode}"
