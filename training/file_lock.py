"""One process at a time, by a lock on a file."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO


def lock_file(path: Path) -> IO[str] | None:
    """Lock a file, which is made, until it is closed; None while another process has it.

    The kernel frees the lock however its process ends. A file system without locks guards nothing:
    rather that than not usable at all.
    """
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError:
        pass
    return lock


def lock_file_patiently(path: Path) -> IO[str]:
    """The same, after waiting for another process that has it."""
    lock = path.open("w")
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
