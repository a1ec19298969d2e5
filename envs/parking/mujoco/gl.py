"""An off-screen OpenGL context, by EGL unless `MUJOCO_GL` or a display says otherwise."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

BACKENDS = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa", "glfw": "mujoco.glfw"}
HELP = (
    "making pictures needs OpenGL, and none could be started ({error}). On Debian or Ubuntu: "
    "apt-get install libegl1 libgl1-mesa-dri (software rendering, no GPU and no display needed)"
)


def backend() -> str:
    """The OpenGL backend to use: `MUJOCO_GL`, or EGL where there is no display.

    Raises ValueError for a value of `MUJOCO_GL` that MuJoCo does not know.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if not chosen:
        headless = sys.platform == "linux" and not os.environ.get("DISPLAY")
        chosen = os.environ["MUJOCO_GL"] = "egl" if headless else "glfw"
    if chosen not in BACKENDS:
        raise ValueError(
            f"MUJOCO_GL={chosen!r} is unknown; pictures need one of {', '.join(BACKENDS)}"
        )
    return chosen


def make_context(width: int, height: int) -> Any:
    """A fresh OpenGL context with `make_current()` and `free()`.

    Raises RuntimeError, saying what to install, where OpenGL cannot be started.
    """
    # Software rendering spreads over all cores by default, which only hurts many workers at once.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        # MuJoCo picks its own default when it is imported, which may be long ago; so not that.
        context = importlib.import_module(BACKENDS[backend()]).GLContext(width, height)
        context.make_current()
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise RuntimeError(HELP.format(error=error)) from error
    return context
