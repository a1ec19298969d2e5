"""Keeping freed memory in the process: worth a tenth of a training step on a CPU."""

from __future__ import annotations

import ctypes
import ctypes.util

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory instead of handing it back to the kernel.

    A training step allocates the same large tensors again and again; fresh pages are zeroed by the
    kernel each time, which costs more than the arithmetic of a ReLU. Call before the first large
    allocation. Returns False, having changed nothing, where the C library is another one.
    """
    library = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(library), "mallopt", None) if library else None
    if mallopt is None:
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**26}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
