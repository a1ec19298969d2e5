"""OpenGL without a window: a context for everything in this package that makes pictures.

It comes by EGL unless `MUJOCO_GL` or a display says otherwise.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

BACKENDS = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa", "glfw": "mujoco.glfw"}
HELP = (
    "making pictures needs OpenGL 3.3, and it could not be started ({error}). On Debian or Ubuntu: "
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


def make_context() -> Any:
    """A fresh current OpenGL context with `make_current()` and `free()`.

    Raises RuntimeError, saying what to install, where OpenGL cannot be started.
    """
    # Software rendering spreads over all cores by default, which only hurts many workers at once.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        # MuJoCo picks its own default when it is imported, which may be long ago; so not that.
        context = importlib.import_module(BACKENDS[backend()]).GLContext(64, 64)
        context.make_current()
        version = api().glGetString(api().GL_VERSION).decode()
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise RuntimeError(HELP.format(error=error)) from error
    if tuple(int(part) for part in version.split()[0].split(".")[:2]) < (3, 3):
        raise RuntimeError(HELP.format(error=f"this machine has only OpenGL {version}"))
    return context


def api() -> Any:
    """PyOpenGL, imported late: it binds itself to the platform that the context was made with."""
    return importlib.import_module("OpenGL.GL")
